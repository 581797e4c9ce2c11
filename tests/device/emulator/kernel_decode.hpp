#include "attention/decode_sm80.cu"
#define EMULATED_PARAMS DecodeParams
#include "device/emulator/kernel_attention_output.hpp"
#include "device/emulator/kernel_end.hpp"

#include "attention/forward_sm80.cu"
#define EMULATED_PARAMS ForwardParams
#include "device/emulator/kernel_attention_output.hpp"
#include "device/emulator/kernel_end.hpp"

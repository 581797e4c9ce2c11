#include "attention/merge.cu"
#define EMULATED_PARAMS MergeParams
#define EMULATED_OUTPUT static_cast<Number>(::EMULATED::config::out_dtype())
#include "device/emulator/kernel_end.hpp"

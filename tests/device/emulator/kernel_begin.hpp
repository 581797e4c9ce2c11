// Everything of the kernel's files goes into a namespace of this config, so that configs can live in
// one program. No include guard: once per file of a kernel.
#include "device/emulator/kernel.hpp"
#include "device/emulator/machine.hpp"
#include "device/emulator/number.hpp"

#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <stdexcept>

#define kiln EMULATED
// The stand-in config is read once under another name and so passed over where the template asks for it. What a
// kernel's own config declares hides what it takes from there.
#include "device/base.cuh"
#define config config_defaults
#include "default_config.cuh"
#undef config
namespace kiln::config {
using namespace config_defaults;
}
#define kiln_forward EMULATED_JOIN(EMULATED, _entry)
#define kiln_decode EMULATED_JOIN(EMULATED, _entry)
#define kiln_merge EMULATED_JOIN(EMULATED, _entry)
#define EMULATED_JOIN(a, b) EMULATED_JOIN_NOW(a, b)
#define EMULATED_JOIN_NOW(a, b) a##b
#include "device/emulator/instructions.hpp"

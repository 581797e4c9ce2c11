#pragma once

// cuda.h with what it declares exported, and nothing else of the fake but its controls.
#pragma GCC visibility push(default)
#include "fake_cuda/fake_cuda.h"

#include <cuda.h>
#pragma GCC visibility pop

#pragma once

/// Kiln: fused attention kernels, built for your GPU when you ask for them.
///
///   kiln::Runtime runtime;
///   auto attention = runtime.forward({.dtype = kiln::DType::bf16, .causal = true});
///   attention.launch(stream, {.q = …, .k = …, .v = …, .out = …, .batch = 2, …});

#include <kiln/attention.hpp>
#include <kiln/error.hpp>
#include <kiln/merge.hpp>
#include <kiln/options.hpp>
#include <kiln/runtime.hpp>
#include <kiln/shared_prefix.hpp>
#include <kiln/version.hpp>

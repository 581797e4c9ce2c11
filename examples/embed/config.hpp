#pragma once

#include <kiln/kiln.hpp>

#include <string>

/// What the model fixes.
struct Model {
  kiln::DType dtype = kiln::DType::bf16;
  int layers = 1;
  int heads_q = 1;
  int heads_kv = 1;
  int head_dim = 128;
};

struct Config {
  kiln::Options kiln{};
  Model model{};
  int batch = 1;
  int prompt = 1;
  int new_tokens = 1;
};

/// Reads a file like engine.json.
Config read_config(const std::string& path);

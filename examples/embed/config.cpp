#include "config.hpp"

#include <nlohmann/json.hpp>

#include <fstream>
#include <stdexcept>

namespace {

int positive(const nlohmann::json& object, const char* name) {
  const int value = object.at(name).get<int>();
  if (value < 1) throw std::invalid_argument(std::string(name) + " must be at least 1");
  return value;
}

kiln::DType dtype_of(const std::string& name) {
  if (name == "bf16") return kiln::DType::bf16;
  if (name == "f16") return kiln::DType::f16;
  throw std::invalid_argument("dtype is \"" + name + "\", not bf16 or f16");
}

}  // namespace

Config read_config(const std::string& path) {
  std::ifstream file(path);
  if (!file) throw std::runtime_error("can't read " + path);
  const auto json = nlohmann::json::parse(file);

  Config config;
  // Kiln reads its own part and refuses names that it does not know; KILN_* variables still override.
  config.kiln = kiln::Options::from_json(json.value("kiln", nlohmann::json::object()).dump(), path);
  config.kiln.apply_environment();

  const auto& model = json.at("model");
  config.model = {.dtype = dtype_of(model.at("dtype").get<std::string>()),
                  .layers = positive(model, "layers"),
                  .heads_q = positive(model, "heads_q"),
                  .heads_kv = positive(model, "heads_kv"),
                  .head_dim = positive(model, "head_dim")};
  config.batch = positive(json, "batch");
  config.prompt = positive(json, "prompt");
  config.new_tokens = positive(json, "new_tokens");
  return config;
}

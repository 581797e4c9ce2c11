#pragma once

#include "base/json.hpp"
#include "base/log.hpp"
#include "cache/entry.hpp"
#include "cli/commands.hpp"

#include <cstdint>
#include <string>

namespace kiln::cli {

/// The text and a line end on standard output.
void print_json(const base::Json& json);

/// "513 B", "74.2 KB", "1.3 MB".
std::string bytes_text(std::uint64_t bytes);

base::Logger logger_of(const Common& common);

/// What is known of a compiled kernel, for --json.
base::Json::Object to_json(const cache::Entry& entry);

}  // namespace kiln::cli

#pragma once

#include <fmt/format.h>

#include <string>
#include <utility>
#include <vector>

namespace kiln::test {

/// Cases in their order, with a number that keeps names apart.
template <class Case>
std::vector<std::pair<std::string, Case>> numbered(const std::vector<Case>& cases) {
  std::vector<std::pair<std::string, Case>> named;
  for (const Case& test : cases) named.emplace_back(fmt::format("n{}_{}", named.size(), name_of(test)), test);
  return named;
}

}  // namespace kiln::test

#pragma once

#include <kiln/merge.hpp>

namespace kiln::api {

/// As check() of check_args.hpp, for a merge.
void check(const MergeConfig& config, const MergeArgs& args);
/// A call with no row: no pointer needs to be there.
bool writes_nothing(const MergeArgs& args);

}  // namespace kiln::api

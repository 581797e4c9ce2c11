#pragma once

#include "support/reference.hpp"

#include <gtest/gtest.h>

#include <span>
#include <string>
#include <string_view>

/// How right is right.
namespace kiln::test {

/// The two CPU computations that a result is judged by.
struct Judge {
  explicit Judge(const Problem& problem);

  Result exact;
  Result naive;
  double lse_error = 0;  ///< the naive computation's
};

/// What an output may differ from the reference at most: twice the error of the naive computation in
/// the same type, 1e-5, and one rounding of the output's type. NaN if the naive computation overflows,
/// which makes the data unfit to judge by.
double allowed_error(const Problem& problem, const Judge& judge);

/// Infinities and NaN must stand where the reference has them, NaN in what the call doesn't write included: fill the
/// output with it before. All else within allowed_error().
/// `repro` is a command line, printed with a failure.
::testing::AssertionResult output_matches(const Problem& problem, const View& out, const Judge& judge,
                                          std::string_view repro);

/// Every LSE within 1e-3 + 2⁻²⁰·|lse|, with one TF32 pass twice the naive one's error more; −inf and NaN just where the
/// reference says so.
::testing::AssertionResult lse_matches(const Problem& problem, std::span<const float> lse, const Judge& judge,
                                       std::string_view repro);

}  // namespace kiln::test

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
  explicit Judge(const Problem& problem) : exact(reference(problem)), naive(naive16(problem)) {}

  Result exact;
  Result naive;
};

/// What an output may differ from the reference at most: twice the error of the naive computation in
/// the same type, 1e-5, and one rounding of the type. NaN if the naive computation overflows, which
/// makes the data unfit to judge by.
double allowed_error(const Problem& problem, const Judge& judge);

/// Infinities and NaN must stand where the reference has them; all else within allowed_error().
/// `repro` is a command line, printed with a failure.
::testing::AssertionResult output_matches(const Problem& problem, const View& out, const Judge& judge,
                                          std::string_view repro);

/// Every LSE within 1e-3 + 2⁻²⁰·|lse|, and −inf just where the reference says −inf.
::testing::AssertionResult lse_matches(const Problem& problem, std::span<const float> lse, const Judge& judge,
                                       std::string_view repro);

}  // namespace kiln::test

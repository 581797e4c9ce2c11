#pragma once

#include "gpu/decode_call.hpp"

#include <kiln/shared_prefix.hpp>

#include <cstdint>
#include <iosfwd>
#include <string>
#include <vector>

namespace kiln::test {

/// A decode call of sequences that begin with the same keys.
struct PrefixCase {
  std::string name;
  DecodeCase decode;  ///< of whole sequences, each at least as long as the prefix
  int prefix_len = 0;
  bool length_on_device = false;
};

void PrintTo(const PrefixCase& test, std::ostream* out);

std::vector<PrefixCase> prefix_cases();

/// The call of the whole sequences, whose keys begin with the first one's, and what it is in parts.
class PrefixCall {
 public:
  explicit PrefixCall(const PrefixCase& test);

  void upload();
  void clear_result();

  /// Of what the sequences have behind the prefix.
  [[nodiscard]] DecodeArgs own_args() const;
  [[nodiscard]] SharedPrefix prefix() const;

  PrefixCase test;
  DecodeCall whole;

 private:
  [[nodiscard]] int prefix_pages() const { return test.prefix_len / test.decode.page_size; }
  void repeat_rows(Tensor& keys, int sequence) const;
  void skip(Input& keys) const;

  cuda::DeviceBuffer own_lengths_;
  cuda::DeviceBuffer prefix_length_;
};

}  // namespace kiln::test

#include "device/decode_workspace.cuh"
#include "device/fragment.cuh"
#include "device/page_size.cuh"
#include "device/params.cuh"
#include "device/smem_plan.cuh"
#include "device/swizzle.cuh"

#include <climits>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <utility>

namespace kiln::device {
namespace {

template <class T>
class Swizzle : public ::testing::Test {};

template <i32 kRowChunks>
struct Row {
  static constexpr i32 chunks = kRowChunks;
};
template <i32... kRowChunks>
using Rows = ::testing::Types<Row<kRowChunks>...>;
// Those that any head dim of any type has; HaveOnlyLengthsThatAreTested says so.
using AllRows = Rows<2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30, 32, 40, 48, 56, 64>;
TYPED_TEST_SUITE(Swizzle, AllRows);
using FloatRows = Rows<8, 16, 24, 32, 40, 48, 56, 64>;

template <class... Row>
std::set<i32> chunks_of(::testing::Types<Row...>) {
  return {Row::chunks...};
}

TEST(RowsInSharedMemory, HaveOnlyLengthsThatAreTested) {
  const std::set<i32> tested = chunks_of(AllRows());
  for (const DType type : {DType::f16, DType::bf16, DType::f32}) {
    for (i32 dim = 8; dim <= 256; dim += 8) {
      EXPECT_GE(padded_dim(dim, type), dim);
      EXPECT_LT(padded_dim(dim, type), dim + 32);
      EXPECT_TRUE(tested.contains(row_chunks(dim, type))) << "dim " << dim;
    }
  }
  EXPECT_EQ(padded_dim(72, DType::bf16), 80);
  EXPECT_EQ(padded_dim(72, DType::f32), 96);
}

TYPED_TEST(Swizzle, KeepsChunksInTheirRowAndApart) {
  using Tile = SwizzledTile<TypeParam::chunks>;
  for (i32 row = 0; row < 64; ++row) {
    std::set<i32> places;
    for (i32 chunk = 0; chunk < TypeParam::chunks; ++chunk) {
      const i32 offset = Tile::offset(row, chunk);
      EXPECT_EQ(offset % kChunkBytes, 0);
      EXPECT_EQ(offset / Tile::kRowBytes, row);
      places.insert(offset);
    }
    EXPECT_EQ(std::ssize(places), TypeParam::chunks);
  }
}

TYPED_TEST(Swizzle, EightRowsOfAChunkColumnHaveNoBankConflict) {
  using Tile = SwizzledTile<TypeParam::chunks>;
  for (i32 chunk = 0; chunk < TypeParam::chunks; ++chunk) {
    for (i32 first = 0; first < 64; first += 8) {
      std::set<i32> banks;
      for (i32 row = first; row < first + 8; ++row) banks.insert(Tile::offset(row, chunk) % 128);
      EXPECT_EQ(banks.size(), 8u) << "chunk " << chunk << " rows from " << first;
    }
  }
}

TYPED_TEST(Swizzle, BlockAddressesAreTheTileOffsets) {
  using Tile = SwizzledTile<TypeParam::chunks>;
  constexpr u32 kTile = 4096;
  for (u32 lane = 0; lane < 32; ++lane) {
    for (const LdmatrixLane at : {ldmatrix_rows_first(lane), ldmatrix_chunks_first(lane)}) {
      const BlockAddresses<TypeParam::chunks> addresses(kTile, at);
      for (i32 row = 0; row < 4; ++row) {
        for (i32 column = 0; column < TypeParam::chunks / 2; ++column) {
          ASSERT_EQ(addresses.at(row, column),
                    kTile + static_cast<u32>(Tile::offset(16 * row + at.row, 2 * column + at.chunk)))
              << "lane " << lane << " block " << row << ", " << column;
        }
      }
    }
  }
}

template <class T>
class RowPairs : public ::testing::Test {};
TYPED_TEST_SUITE(RowPairs, FloatRows);

TYPED_TEST(RowPairs, AreTheirPlacesOfTheTileAndHaveNoBankConflict) {
  using Tile = SwizzledTile<TypeParam::chunks>;
  constexpr u32 kTile = 4096;
  for (i32 block = 0; block < 2 * TypeParam::chunks; ++block) {  // of 8 keys and 8 columns
    const i32 keys = block % 4;
    const i32 columns = block / 4;
    for (const i32 odd : {0, 1}) {
      std::set<u32> banks;
      for (u32 lane = 0; lane < 32; ++lane) {
        const i32 key = 8 * keys + static_cast<i32>(lane % 4) * 2 + odd;
        const i32 column = 8 * columns + static_cast<i32>(lane / 4);
        const u32 address = RowPairAddresses<TypeParam::chunks>(kTile, lane).at(keys, columns, odd);
        ASSERT_EQ(address, kTile + static_cast<u32>(Tile::offset(key, column / 4) + column % 4 * 4)) << "lane " << lane;
        banks.insert(address / 4 % 32);
      }
      EXPECT_EQ(banks.size(), 32u) << "keys " << keys << " columns " << columns;
    }
  }
}

TEST(Fragment, AccumulatorsCoverTheResultOnce) {
  std::set<std::pair<i32, i32>> seen;
  for (u32 lane = 0; lane < 32; ++lane) {
    for (i32 i = 0; i < kAccumulators; ++i) {
      const Coordinate at = accumulator_coordinate(lane, i);
      EXPECT_TRUE(at.row >= 0 && at.row < kMmaM && at.column >= 0 && at.column < kMmaN);
      seen.insert({at.row, at.column});
    }
  }
  EXPECT_EQ(seen.size(), 128u);
  EXPECT_EQ(accumulator_coordinate(5, 3).row, 9);  // PTX manual: groupID + 8, threadID_in_group · 2 + 1
  EXPECT_EQ(accumulator_coordinate(5, 3).column, 3);
}

TEST(SmemPlan, CountsWhatTheKernelsHold) {
  EXPECT_EQ(forward_smem_bytes(DType::bf16, 128, 128, 128, 64, 2, false), 2 * (128 * 128 + 2 * 64 * 256) + 128);
  EXPECT_EQ(forward_smem_bytes(DType::bf16, 64, 128, 64, 64, 2, false), 2 * (64 * 128 + 2 * 64 * 192) + 128)
      << "O is larger than Q";
  EXPECT_EQ(forward_smem_bytes(DType::f16, 72, 40, 64, 32, 2, false), 2 * (64 * 80 + 2 * 32 * (80 + 48)) + 128);
  EXPECT_EQ(forward_smem_bytes(DType::f32, 72, 40, 64, 32, 2, false), 4 * (64 * 96 + 2 * 32 * (96 + 64)) + 128);
  EXPECT_EQ(forward_smem_bytes(DType::f16, 64, 64, 64, 32, 3, true), 2 * (64 * 64 + 3 * 32 * 128) + 3 * 32 * 16 + 128);
  const i32 places = 4 * 64 * 512;
  const i32 beside = 2 * 4096 + 4 * 16 * 8 + kDecodeWorks * kDecodeWorkBytes;  // Q, maxima and sums, works
  EXPECT_EQ(decode_smem_bytes(DType::bf16, 128, 128, 16, 64, 4, 4, false), ceil_div(places + beside, 128) * 128);
  EXPECT_EQ(decode_smem_bytes(DType::bf16, 128, 128, 16, 64, 4, 4, true),
            ceil_div(places + beside + 64 * 16, 128) * 128);
  EXPECT_EQ(decode_smem_bytes(DType::bf16, 64, 64, 16, 128, 2, 8, false) % 128, 0);
  EXPECT_FALSE(DecodePlaces(DType::bf16, 128, 128, 16, 64, 4, 4).output_has_own()) << "O fits over a tile";
  EXPECT_TRUE(DecodePlaces(DType::bf16, 16, 256, 16, 16, 2, 1).output_has_own());
}

TEST(SmemPlan, WarpsOfDecodeLieAlongTheRowsAsFarAsRegistersForce) {
  EXPECT_EQ(decode_warps(128, 16, 4).rows, 1);
  EXPECT_EQ(decode_warps(64, 32, 4).rows, 1);
  EXPECT_EQ(decode_warps(64, 64, 4).rows, 2);
  EXPECT_EQ(decode_warps(128, 64, 4).rows, 4);
  EXPECT_EQ(decode_warps(136, 64, 8).rows, 4);
  EXPECT_EQ(decode_warps(136, 64, 8).keys, 2);
  EXPECT_EQ(decode_warps(64, 64, 8).rows, 4) << "more warps, fewer rows each";
}

TEST(DecodeWorkspace, PartsFollowEachOtherAligned) {
  const DecodeWorkspace w = decode_workspace(7, 16, 128);
  EXPECT_EQ(w.counters, 0);
  EXPECT_EQ(w.partial_state, kMaxDecodeCounters * 4);
  EXPECT_GE(w.partial_o, w.partial_state + i64{7} * 16 * 2 * 4);
  EXPECT_EQ(w.partial_o % kWorkspaceAlignment, 0);
  EXPECT_EQ(w.bytes, w.partial_o + i64{7} * 16 * 128 * 4);
}

TEST(DecodeWorkspace, CountersLieTheSameForAllShapes) {
  EXPECT_EQ(decode_workspace(1, 16, 64).partial_state, decode_workspace(5000, 64, 128).partial_state);
}

TEST(DecodeWorkspace, UnsplitNeedsNone) { EXPECT_EQ(decode_workspace(0, 16, 128).bytes, 0); }

TEST(DecodeWorkspace, SizesAre64Bit) { EXPECT_GT(decode_workspace(i64{1} << 21, 16, 128).bytes, i64{1} << 33); }

TEST(Params, HaveTheSizeThatTheKernelsAssert) {
  EXPECT_EQ(sizeof(ForwardParams), 320u);
  EXPECT_EQ(sizeof(DecodeParams), 432u);
}

TEST(PageSize, PlacesEveryKey) {
  for (const i32 size : {1, 2, 3, 5, 7, 16, 100, 256, 65'535, 65'536, INT_MAX}) {
    const PageSize page = page_size_of(size);
    for (const i64 near : {i64{0}, i64{size}, i64{1000} * size, i64{INT_MAX} / size * size, i64{INT_MAX}}) {
      for (i64 key = std::max(near - 3, i64{0}); key <= std::min(near + 3, i64{INT_MAX}); ++key) {
        const KeyPlace place = place_of_key(page, static_cast<i32>(key));
        ASSERT_EQ(i64{place.page}, key / size) << key << " of " << size;
        ASSERT_EQ(i64{place.row}, key % size) << key << " of " << size;
      }
    }
  }
}

}  // namespace
}  // namespace kiln::device

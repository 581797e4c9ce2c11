#include "base/json.hpp"

#include "support/expect_error.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <limits>
#include <random>

namespace kiln::base {
namespace {

using test::error_of;
using testing::HasSubstr;

constexpr auto kBad = ErrorCode::invalid_argument;
constexpr auto kLeast = std::numeric_limits<std::int64_t>::min();
constexpr auto kMost = std::numeric_limits<std::int64_t>::max();

TEST(Json, ReadsEveryKindOfValue) {
  const Json json = Json::parse(R"({
    // comments are allowed
    "yes": true, "no": false, "nothing": null, "int": -3, "real": 2.5, "text": "ü\n",
    "list": [1, [2, 3], {"deep": 4}], "empty_list": [], "empty": {}
  })",
                                "file.json");
  EXPECT_TRUE(json.at("yes").as_bool());
  EXPECT_FALSE(json.at("no").as_bool());
  EXPECT_TRUE(json.at("nothing").is_null());
  EXPECT_EQ(json.at("int").as_int(kLeast, kMost), -3);
  EXPECT_EQ(json.at("real").as_double(), 2.5);
  EXPECT_EQ(json.at("int").as_double(), -3.0);
  EXPECT_EQ(json.at("text").as_string(), "ü\n");
  EXPECT_EQ(json.at("list").as_array().size(), 3U);
  EXPECT_EQ(json.at("list").as_array()[2].at("deep").as_int(0, 9), 4);
  EXPECT_TRUE(json.at("empty_list").as_array().empty());
  EXPECT_TRUE(json.at("empty").as_object().empty());
  EXPECT_EQ(json.find("absent"), nullptr);
}

TEST(Json, KnowsWhereAValueStood) {
  const Json json = Json::parse(R"({"rows": [{"tile_m": 1}, {"tile_m": [5]}]})", "sm_90.json");
  EXPECT_EQ(json.where(), "sm_90.json");
  EXPECT_EQ(json.at("rows").where(), "sm_90.json: rows");
  EXPECT_EQ(json.at("rows").as_array()[1].at("tile_m").as_array()[0].where(), "sm_90.json: rows[1].tile_m[0]");
}

TEST(Json, AnArrayKeepsItsElementsWhileItGrows) {
  std::string text = "[";
  for (int i = 0; i < 1000; ++i) text += fmt::format("{}{{\"i\": [{}]}}", i > 0 ? "," : "", i);
  const Json json = Json::parse(text + "]", "grow");
  ASSERT_EQ(json.as_array().size(), 1000U);
  for (int i = 0; i < 1000; ++i) {
    EXPECT_EQ(json.as_array()[static_cast<std::size_t>(i)].at("i").as_array().at(0).as_int(0, 1000), i);
  }
}

TEST(Json, GettersNamePlaceLimitAndValue) {
  const Json json = Json::parse(R"({"jobs": 900, "on": "yes", "ratio": 1.5, "list": [], "none": null})", "o.json");
  EXPECT_EQ(error_of(kBad, [&] { (void)json.at("jobs").as_int(0, 256); }),
            "o.json: jobs: must be a whole number from 0 to 256, but is 900");
  EXPECT_EQ(error_of(kBad, [&] { (void)json.at("ratio").as_int(0, 256); }),
            "o.json: ratio: must be a whole number from 0 to 256, but is 1.5");
  EXPECT_EQ(error_of(kBad, [&] { (void)json.at("ratio").as_int(1, kMost); }),
            "o.json: ratio: must be a whole number of at least 1, but is 1.5");
  EXPECT_EQ(error_of(kBad, [&] { (void)json.at("on").as_bool(); }),
            "o.json: on: must be true or false, but is \"yes\"");
  EXPECT_EQ(error_of(kBad, [&] { (void)json.at("none").as_string(); }), "o.json: none: must be a string, but is null");
  EXPECT_EQ(error_of(kBad, [&] { (void)json.at("list").as_object(); }),
            "o.json: list: must be an object, but is an array");
  EXPECT_EQ(error_of(kBad, [&] { (void)json.as_array(); }), "o.json: must be an array, but is an object");
  EXPECT_EQ(error_of(kBad, [&] { (void)json.at("job"); }), "o.json: the key 'job' is missing");
}

TEST(Json, UnknownKeysAreNamedWithTheNearestKnownOne) {
  constexpr std::array<std::string_view, 2> kKnown = {"cache_dir", "compile_jobs"};
  const Json good = Json::parse(R"({"cache_dir": "/x"})", "o.json");
  EXPECT_NO_THROW(good.allow_keys(kKnown));
  const Json near = Json::parse(R"({"compile_job": 1})", "o.json");
  EXPECT_EQ(error_of(kBad, [&] { near.allow_keys(kKnown); }),
            "o.json: the key 'compile_job' is not known: did you mean 'compile_jobs'?");
  const Json far = Json::parse(R"({"xyz": 1})", "o.json");
  EXPECT_EQ(error_of(kBad, [&] { far.allow_keys(kKnown); }),
            "o.json: the key 'xyz' is not known: known are cache_dir, compile_jobs");
}

struct BadText {
  const char* name;
  std::string text;
  const char* message;
};

class JsonBadText : public testing::TestWithParam<BadText> {};

TEST_P(JsonBadText, IsAnErrorThatNamesTheFile) {
  const std::string message = error_of(kBad, [&] { Json::parse(GetParam().text, "bad.json"); });
  EXPECT_THAT(message, testing::StartsWith("bad.json"));
  EXPECT_THAT(message, HasSubstr(GetParam().message));
  EXPECT_LT(message.size(), 1000U);
}

INSTANTIATE_TEST_SUITE_P(
    All, JsonBadText,
    testing::Values(BadText{"empty", "", "parse error"}, BadText{"cut", R"({"a": )", "line 1"},
                    BadText{"trailing", "{} x", "column 4"}, BadText{"trailing_nul", std::string("{}\0x", 4), "NUL"},
                    BadText{"second_line", "{\n\"a\" 1}", "line 2"},
                    BadText{"twice", R"({"a": {"b": 1, "b": 2}})", "bad.json: a: the key 'b' stands there twice"},
                    BadText{"big_unsigned", R"({"n": 9223372036854775808})",
                            "bad.json: n: the number 9223372036854775808"},
                    BadText{"bigger", R"({"n": [123456789012345678901234567890]})", "bad.json: n[0]: the number 1234"},
                    BadText{"negative_big", "-9223372036854775809", "does not fit in 64 bits"},
                    BadText{"overflow", "1e999", "1e999"}, BadText{"nan", "NaN", "parse error"},
                    BadText{"not_utf8", "\"\xff\xfe\"", "UTF-8"}, BadText{"key_not_utf8", "{\"\xc3\x28\": 1}", "UTF-8"},
                    BadText{"lone_surrogate", R"("\ud800")", "surrogate"},
                    BadText{"long_token", '"' + std::string(100000, 'x'), "parse error"},
                    BadText{"deep_array", std::string(100000, '['), "nested deeper than 64"},
                    BadText{"deep_object",
                            std::string(1, '[') +
                                [] {
                                  std::string text;
                                  for (int i = 0; i < 1000; ++i) text += R"({"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa":)";
                                  return text;
                                }(),
                            "nested deeper than 64"}),
    [](const auto& param) { return param.param.name; });

TEST(Json, DepthOf64IsFine) {
  EXPECT_NO_THROW(Json::parse(std::string(64, '[') + std::string(64, ']'), "deep"));
  EXPECT_NE(error_of(kBad, [] { Json::parse(std::string(65, '[') + std::string(65, ']'), "deep"); }), "");
}

TEST(Json, ReadsTheExtremesOf64Bits) {
  const Json json = Json::parse("[-9223372036854775808, 9223372036854775807]", "x");
  EXPECT_EQ(json.as_array()[0].as_int(kLeast, kMost), kLeast);
  EXPECT_EQ(json.as_array()[1].as_int(kLeast, kMost), kMost);
}

TEST(Json, DamagedTextNeverCrashes) {
  const std::string good = R"({"a": [1, 2.5e3, "x\u00e9", null], "b": {"c": true, "d": [[], {}]}})";
  constexpr std::string_view kBytes = "{}[],:\"\\/*0123456789.eE+-trufalsn \x01\xc3\xa9\xff";
  std::mt19937 random(7);
  int parsed = 0;
  for (int round = 0; round < 20000; ++round) {
    std::string text = good;
    for (auto flips = random() % 3; flips-- > 0;) text[random() % text.size()] = kBytes[random() % kBytes.size()];
    if (random() % 4 == 0) text.resize(random() % text.size());
    try {
      (void)Json::parse(text, "fuzz").dump();
      ++parsed;
    } catch (const Error&) {  // the only thing that may come out
    }
  }
  EXPECT_GT(parsed, 0);
}

TEST(Json, DumpIsSortedAndStable) {
  Json json;
  json["b"] = 1;
  json["a"].push_back(true);
  json["a"].push_back("é\"");
  json["a"].push_back(Json());
  json["c"] = 0.1;
  json["d"] = 3.0;
  EXPECT_EQ(json.dump(true), R"({"a":[true,"é\"",null],"b":1,"c":0.1,"d":3.0})");
  EXPECT_EQ(json.dump(),
            "{\n  \"a\": [\n    true,\n    \"é\\\"\",\n    null\n  ],\n  \"b\": 1,\n  \"c\": 0.1,\n  \"d\": 3.0\n}");
  EXPECT_EQ(Json::parse(json.dump(), "again").dump(), json.dump());
}

TEST(Json, DumpRefusesWhatJsonCannotHold) {
  EXPECT_THAT(error_of(kBad, [] { (void)Json("\xff").dump(); }), HasSubstr("UTF-8"));
  EXPECT_THAT(error_of(kBad, [] { (void)Json(std::numeric_limits<double>::infinity()).dump(); }), HasSubstr("inf"));
  EXPECT_THAT(error_of(kBad, [] { (void)Json(std::numeric_limits<double>::quiet_NaN()).dump(); }), HasSubstr("nan"));
}

TEST(Json, BuildingOnTheWrongKindIsAnError) {
  Json number = 1;
  EXPECT_THAT(error_of(kBad, [&] { number["a"] = 1; }), HasSubstr("must be an object, but is 1"));
  EXPECT_THAT(error_of(kBad, [&] { number.push_back(1); }), HasSubstr("must be an array, but is 1"));
}

TEST(Json, MessagesHoldNoRawBytesOfTheFile) {
  const Json json = Json::parse("{\"\\u001b[31m\": 1}", "o.json");
  EXPECT_THAT(json.as_object().begin()->second.where(), HasSubstr("\\x1b[31m"));
}

}  // namespace
}  // namespace kiln::base

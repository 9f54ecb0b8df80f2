#include "node/cli/region_rows.h"

#include <nlohmann/json.hpp>

#include "gtest/gtest.h"

namespace mailrail::cli {
namespace {

using nlohmann::json;

control::Listing TwoRows() {
  control::Listing listing;
  control::RegionRow* row = listing.add_regions();
  row->set_name("prices");
  row->mutable_spec()->set_bytes(8192);
  row->set_version(7);
  row->set_opens(2);
  row->add_replicas("beta");
  row->add_replicas("gamma");
  row = listing.add_regions();
  row->set_name("quote");
  row->set_home("beta");
  row->mutable_spec()->set_kind(proto::RegionSpec::VALUE);
  row->mutable_spec()->set_bytes(24);
  row->mutable_spec()->set_schema(5);
  row->mutable_writer()->set_node("alpha");
  row->mutable_writer()->set_pid(12);
  row->mutable_writer()->set_incarnation(3);
  return listing;
}

TEST(RegionRowsTest, ATableHasARowForEach) {
  EXPECT_EQ(FormatRegions(TwoRows(), OutputFormat::kText),
            "KIND    NAME        BYTES  VERSION  OPEN  WRITER      REPLICAS\n"
            "region  prices       8192        7     2  -           beta, gamma\n"
            "value   quote@beta     24        0     0  12.3@alpha  -\n");
}

TEST(RegionRowsTest, JsonHasStableKeys) {
  const json rows = json::parse(FormatRegions(TwoRows(), OutputFormat::kJson));
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[0]["kind"], "region");
  EXPECT_EQ(rows[0]["version"], 7);
  EXPECT_EQ(rows[0]["replicas"], json({"beta", "gamma"}));
  EXPECT_EQ(rows[0]["home"], "");
  EXPECT_EQ(rows[1]["kind"], "value");
  EXPECT_EQ(rows[1]["schema"], 5);
  EXPECT_EQ(json::parse(FormatRegion(TwoRows().regions(0), OutputFormat::kJson)), rows[0]);
}

TEST(RegionRowsTest, OneIsShownInLines) {
  const std::string text = FormatRegion(TwoRows().regions(1), OutputFormat::kText);
  EXPECT_NE(text.find("name          quote@beta\n"), std::string::npos) << text;
  EXPECT_NE(text.find("transient     no\n"), std::string::npos) << text;
}

}  // namespace
}  // namespace mailrail::cli

// Runs a fuzz target on the inputs of its corpus, as a test of its own each, with any compiler.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <system_error>
#include <vector>

#include "tests/fuzz/input.h"

namespace {

// From the root of the repository, where Bazel runs tests too.
const std::string kFolder = "tests/fuzz/corpus/" MAILRAIL_FUZZ_TARGET;

class Replay : public ::testing::Test {
 public:
  explicit Replay(std::string path) : path_(std::move(path)) {}

  void TestBody() override {
    std::ifstream file(path_, std::ios::binary);
    ASSERT_TRUE(file.is_open()) << path_;
    const std::string bytes{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
    EXPECT_EQ(LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()),
              0);
  }

 private:
  const std::string path_;
};

std::vector<std::filesystem::path> Corpus() {
  std::vector<std::filesystem::path> files;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(kFolder, error)) {
    files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

}  // namespace

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  const std::vector<std::filesystem::path> files = Corpus();
  if (files.empty()) {
    std::cerr << "there is no corpus in " << kFolder << std::endl;
    return 1;
  }
  for (const std::filesystem::path& file : files) {
    ::testing::RegisterTest("Corpus", file.filename().c_str(), nullptr, nullptr, __FILE__, __LINE__,
                            [path = file.string()] { return new Replay(path); });
  }
  return RUN_ALL_TESTS();
}

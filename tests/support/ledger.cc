#include "tests/support/ledger.h"

#include <sys/mman.h>
#include <sys/types.h>
#include <unistd.h>

#include "tests/support/require.h"

namespace mailrail {
namespace {

// The file is sparse, so pages may be large.
constexpr uint64_t kNumbersPerPage = uint64_t{1} << 24;

off_t OffsetOf(uint32_t page, uint64_t index) {
  return static_cast<off_t>((page * kNumbersPerPage + index) * sizeof(uint64_t));
}

}  // namespace

Ledger::Ledger() : file_(memfd_create("ledger", MFD_CLOEXEC)) {
  Require(file_.valid(), "memfd_create");
}

void Ledger::SetCount(uint32_t page, uint64_t count) {
  Require(pwrite(file_.get(), &count, sizeof(count), OffsetOf(page, 0)) == sizeof(count), "pwrite");
}

uint64_t Ledger::Count(uint32_t page) const {
  uint64_t count = 0;
  // What was never written reads as 0, or not at all.
  Require(pread(file_.get(), &count, sizeof(count), OffsetOf(page, 0)) >= 0, "pread");
  return count;
}

void Ledger::Append(uint32_t page, uint64_t number) {
  const uint64_t count = Count(page) + 1;
  Require(pwrite(file_.get(), &number, sizeof(number), OffsetOf(page, count)) == sizeof(number),
          "pwrite");
  SetCount(page, count);
}

std::vector<uint64_t> Ledger::List(uint32_t page) const {
  std::vector<uint64_t> numbers(Count(page));
  const size_t bytes = numbers.size() * sizeof(uint64_t);
  Require(
      pread(file_.get(), numbers.data(), bytes, OffsetOf(page, 1)) == static_cast<ssize_t>(bytes),
      "pread");
  return numbers;
}

}  // namespace mailrail

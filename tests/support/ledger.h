#ifndef MAILRAIL_TESTS_SUPPORT_LEDGER_H_
#define MAILRAIL_TESTS_SUPPORT_LEDGER_H_

#include <cstdint>
#include <vector>

#include "core/base/fd.h"

namespace mailrail {

// Numbers that outlive who wrote them: a party notes here what it was told, one write per note, so
// that a test knows it after the party was killed. Each page has a count, which others may read at
// any time, and a list. Page 0 stands for "nowhere" in commands.
//
// Shared between processes, which inherit the descriptor; one writer per page.
class Ledger {
 public:
  Ledger();
  // On an inherited descriptor; -1 for none: nothing may be noted.
  explicit Ledger(int fd) : file_(fd) {}

  int fd() const { return file_.get(); }

  void SetCount(uint32_t page, uint64_t count);
  uint64_t Count(uint32_t page) const;

  // Notes `number` as the list's next, then counts it.
  void Append(uint32_t page, uint64_t number);
  // The numbers that are counted.
  std::vector<uint64_t> List(uint32_t page) const;

 private:
  Fd file_;
};

}  // namespace mailrail

#endif  // MAILRAIL_TESTS_SUPPORT_LEDGER_H_

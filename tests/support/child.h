#ifndef MAILRAIL_TESTS_SUPPORT_CHILD_H_
#define MAILRAIL_TESTS_SUPPORT_CHILD_H_

#include <sys/types.h>

#include <string>
#include <vector>

namespace mailrail {

// A program that a test started; it is killed when this goes, and when the thread that started it
// ends. So start it from the test's main thread. Move-only. One thread at a time.
class Child {
 public:
  Child() = default;
  // Starts `command`, argv[0] first, which names a file. It inherits standard input, output and
  // error, and `inherited` under the same numbers. When the test dies it gets SIGTERM.
  explicit Child(const std::vector<std::string>& command, const std::vector<int>& inherited = {});
  Child(Child&& other) noexcept;
  Child& operator=(Child&& other) noexcept;
  ~Child() { Kill(); }

  // -1 when there is none (any more).
  pid_t pid() const { return pid_; }

  bool Running() const;
  void Signal(int signal);

  // Kills it at once and waits for its end.
  void Kill();
  // Waits for its end; returns the wait status.
  int Wait();

 private:
  pid_t pid_ = -1;
};

// The file of a program that the build made, by its label's path ("tests/support/worker"). The
// test's BUILD rule lists it in `data`.
std::string BuiltProgram(const std::string& path);

}  // namespace mailrail

#endif  // MAILRAIL_TESTS_SUPPORT_CHILD_H_

#ifndef MAILRAIL_TESTS_SUPPORT_REQUIRE_H_
#define MAILRAIL_TESTS_SUPPORT_REQUIRE_H_

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace mailrail {

// Ends the test program when what every test stands on does not work: `what` says what it was.
inline void Require(bool works, const char* what) {
  if (works) return;
  std::fprintf(stderr, "test support: %s: %s\n", what, std::strerror(errno));
  std::abort();
}

}  // namespace mailrail

#endif  // MAILRAIL_TESTS_SUPPORT_REQUIRE_H_

#ifndef MAILRAIL_TESTS_SUPPORT_PROGRAM_H_
#define MAILRAIL_TESTS_SUPPORT_PROGRAM_H_

#include <string>
#include <vector>

namespace mailrail {

// What a program that has run to its end said on standard output, and its exit code: -1 when it did
// not end by itself.
struct ProgramRun {
  int exit_code = -1;
  std::string output;
};

// Runs `mailrail` with these arguments.
ProgramRun RunMailrail(const std::vector<std::string>& arguments);

}  // namespace mailrail

#endif  // MAILRAIL_TESTS_SUPPORT_PROGRAM_H_

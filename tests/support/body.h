#ifndef MAILRAIL_TESTS_SUPPORT_BODY_H_
#define MAILRAIL_TESTS_SUPPORT_BODY_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace mailrail {

// Bodies that say which message they are and show whether they are whole: a number in the first
// eight bytes, least significant byte first, then bytes that follow from it. A shorter body has
// only the low bytes of its number.

void FillBody(uint64_t number, absl::Span<char> body);
std::string MakeBody(uint64_t number, size_t bytes);

// The number in `body`; 0 for an empty one.
uint64_t NumberOf(absl::string_view body);

// Whether it is, byte for byte, what MakeBody returns for its number and size.
bool IsIntact(absl::string_view body);

}  // namespace mailrail

#endif  // MAILRAIL_TESTS_SUPPORT_BODY_H_

// What is in the messages of a measurement: it changes from one to the next, and all of it is read.
#ifndef MAILRAIL_NODE_CLI_BENCH_BODY_H_
#define MAILRAIL_NODE_CLI_BENCH_BODY_H_

#include <cstddef>
#include <cstdint>

#include "absl/strings/string_view.h"

namespace mailrail::bench {

enum class BodyStyle {
  kWhole,  // every byte is written and read
  kEnds,   // the first and the last line are touched: a body prepared in place and handed over
};

// The number that a body of `size` bytes can carry: of a short one the low bytes alone.
uint64_t Carried(uint64_t number, size_t size);

// Writes `number` all over `body`, or at its ends.
void WriteBody(char* body, size_t size, uint64_t number, BodyStyle style);

// Reads all of `body`, or its ends, into `*number`; false when it is not what WriteBody wrote for
// any number.
bool ReadBody(absl::string_view body, BodyStyle style, uint64_t* number);

}  // namespace mailrail::bench

#endif  // MAILRAIL_NODE_CLI_BENCH_BODY_H_

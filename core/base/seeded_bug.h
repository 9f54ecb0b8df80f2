// Bugs that are built in so that it can be seen that the tests find them. tests/bugs/README.md says
// which test finds which. They are there with --config=bugs alone, at most one at a time, which the
// environment variable MAILRAIL_SEEDED_BUG names; in all other builds SEEDED_BUG(...) is false, and
// nothing is left of what it guards.
#ifndef MAILRAIL_CORE_BASE_SEEDED_BUG_H_
#define MAILRAIL_CORE_BASE_SEEDED_BUG_H_

#ifdef MAILRAIL_SEEDED_BUGS

#include <cstdio>
#include <cstdlib>
#include <cstring>

#define MAILRAIL_FOR_EACH_SEEDED_BUG(DO) \
  DO(CELL_BODY_NOT_CHECKED)              \
  DO(CHECK_BEFORE_PUBLISH)               \
  DO(CLOSED_NOT_READ_AFTER_PUBLISH)      \
  DO(COPY_AFTER_CLAIM)                   \
  DO(CURSOR_BEFORE_COPY)                 \
  DO(END_NOT_READ)                       \
  DO(GONE_NOT_READ_AFTER_CLAIM)          \
  DO(GROUP_GOES_ON)                      \
  DO(HEAD_NOT_ZEROED_AHEAD)              \
  DO(HOLDER_NOT_READ_AFTER_CLAIM)        \
  DO(INTENT_NOT_WRITTEN)                 \
  DO(MEMBERS_NOT_COMPARED)               \
  DO(MISSING_RELEASE)                    \
  DO(NO_EPOCH_CHECK)                     \
  DO(NO_LOOK_BEFORE_SLEEP)               \
  DO(NO_SECOND_LOOK)                     \
  DO(OWNER_NOT_NAMED)                    \
  DO(RECEIPT_BEFORE_POSITION)            \
  DO(RECORD_LENGTH_NOT_CHECKED)          \
  DO(RETURNED_IS_SETTLED)                \
  DO(RETURNS_BUMPED_ONCE)                \
  DO(RING_BODY_NOT_CHECKED)              \
  DO(RUNG_BEFORE_RING)                   \
  DO(SLAB_FREED_TWICE)                   \
  DO(SLOT_REUSED_BEFORE_DONE)            \
  DO(STREAMS_READ_BEFORE_PARKS)          \
  DO(TABLE_HALF_WRITTEN)

namespace mailrail::internal {

enum class SeededBug {
  kNone,
#define MAILRAIL_SEEDED_BUG_NAME(NAME) NAME,
  MAILRAIL_FOR_EACH_SEEDED_BUG(MAILRAIL_SEEDED_BUG_NAME)
#undef MAILRAIL_SEEDED_BUG_NAME
};

inline SeededBug FindSeededBug() {
  const char* const name = std::getenv("MAILRAIL_SEEDED_BUG");
  if (name == nullptr || *name == '\0') return SeededBug::kNone;
#define MAILRAIL_SEEDED_BUG_IF(NAME) \
  if (std::strcmp(name, #NAME) == 0) return SeededBug::NAME;
  MAILRAIL_FOR_EACH_SEEDED_BUG(MAILRAIL_SEEDED_BUG_IF)
#undef MAILRAIL_SEEDED_BUG_IF
  std::fprintf(stderr, "MAILRAIL_SEEDED_BUG: there is no %s\n", name);
  std::exit(2);
}

inline const SeededBug seeded_bug = FindSeededBug();

}  // namespace mailrail::internal

#define SEEDED_BUG(NAME) (::mailrail::internal::seeded_bug == ::mailrail::internal::SeededBug::NAME)

#else

#define SEEDED_BUG(NAME) false

#endif

#endif  // MAILRAIL_CORE_BASE_SEEDED_BUG_H_

#ifndef MAILRAIL_CORE_SHM_PUBLICATION_H_
#define MAILRAIL_CORE_SHM_PUBLICATION_H_

namespace mailrail {

// How a message is published, as the bell wants it (bell.h).
enum class Publication {
  kFenced,  // by a sequentially consistent exchange
  kPlain,   // by a store: the sender streams, or a fence follows the last of several
};

}  // namespace mailrail

#endif  // MAILRAIL_CORE_SHM_PUBLICATION_H_

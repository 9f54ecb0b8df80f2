// What is said of names that nobody has, or somebody has already, and what to run then.
#ifndef MAILRAIL_NODE_DIRECTORY_UNKNOWN_NAME_H_
#define MAILRAIL_NODE_DIRECTORY_UNKNOWN_NAME_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "proto/common.pb.h"

namespace mailrail {

// What a name was asked for as.
enum class NameKind { kProcess, kMailbox, kAny, kRegion };

// kNotFound: nobody has it. `node`: where it was looked for; empty: everywhere.
absl::Status UnknownName(NameKind kind, absl::string_view name, absl::string_view node = "");

// kUnavailable: nobody who answers has it, and these nodes do not answer.
absl::Status UnansweredName(NameKind kind, absl::string_view name,
                            const std::vector<std::string>& silent_nodes);

// kNotFound: the cluster has no such node.
absl::Status UnknownNode(absl::string_view node);

// What the kind is called: a mutex, say.
absl::string_view KindName(proto::ObjectKind kind);
// As above, of an object.
absl::Status UnknownObject(proto::ObjectKind kind, absl::string_view name,
                           absl::string_view node = "");
absl::Status UnansweredObject(proto::ObjectKind kind, absl::string_view name,
                              const std::vector<std::string>& silent_nodes);

// kAlreadyExists.
absl::Status MailboxExists(absl::string_view name, absl::string_view node);

}  // namespace mailrail

#endif  // MAILRAIL_NODE_DIRECTORY_UNKNOWN_NAME_H_

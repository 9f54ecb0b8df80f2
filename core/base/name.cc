#include "core/base/name.h"

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "mailrail/limits.h"

namespace mailrail {

absl::Status CheckName(absl::string_view what, absl::string_view name) {
  const auto bad = [&](absl::string_view why) {
    return absl::InvalidArgumentError(
        absl::StrCat("bad ", what, " name '", absl::CHexEscape(name.substr(0, 80)), "': ", why));
  };
  if (name.empty()) return bad("it is empty");
  if (name.size() > kMaxNameLength) return bad(absl::StrCat("longer than ", kMaxNameLength));
  const bool underscore = what == "mailbox" && name[0] == '_';
  if (!absl::ascii_isalpha(static_cast<unsigned char>(name[0])) && !underscore) {
    return bad(what == "mailbox" ? "it must begin with a letter or '_'"
                                 : "it must begin with a letter");
  }
  for (const char c : name) {
    if (!absl::ascii_isalnum(static_cast<unsigned char>(c)) && c != '.' && c != '_' && c != '-') {
      return bad("only letters, digits, '.', '_' and '-' may be in it");
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<QualifiedName> ParseQualifiedName(absl::string_view what, absl::string_view text) {
  QualifiedName result;
  const size_t at = text.find('@');
  result.name = std::string(text.substr(0, at));
  if (absl::Status status = CheckName(what, result.name); !status.ok()) return status;
  if (at == absl::string_view::npos) return result;
  result.node = std::string(text.substr(at + 1));
  if (absl::Status status = CheckName("node", result.node); !status.ok()) return status;
  return result;
}

}  // namespace mailrail

#include "node/config/settings_file.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/yaml.h>

#include <fstream>
#include <iterator>
#include <set>
#include <sstream>
#include <utility>

#include "absl/strings/str_cat.h"

namespace mailrail {
namespace {

int LineOf(const YAML::Mark& mark) { return mark.is_null() ? 1 : mark.line + 1; }

// Finds where a second document begins that has something in it. YAML::LoadAll would read them all,
// but for some texts without an end.
class SecondDocument final : public YAML::EventHandler {
 public:
  static YAML::Mark Find(const std::string& text) {
    std::istringstream stream(text);
    YAML::Parser parser(stream);
    SecondDocument finder;
    while (finder.documents_ < 2 && parser.HandleNextDocument(finder)) {
    }
    return finder.mark_;
  }

 private:
  void OnDocumentStart(const YAML::Mark&) override { ++documents_; }
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark&, YAML::anchor_t) override {}
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override { Note(mark); }
  void OnScalar(const YAML::Mark& mark, const std::string&, YAML::anchor_t,
                const std::string&) override {
    Note(mark);
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t,
                       YAML::EmitterStyle::value) override {
    Note(mark);
  }
  void OnSequenceEnd() override {}
  void OnMapStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t,
                  YAML::EmitterStyle::value) override {
    Note(mark);
  }
  void OnMapEnd() override {}

  void Note(const YAML::Mark& mark) {
    if (documents_ == 2 && mark_.is_null()) mark_ = mark;
  }

  int documents_ = 0;
  YAML::Mark mark_ = YAML::Mark::null_mark();
};

// Turns the nodes of one file into settings; the first error stays.
class Reader {
 public:
  explicit Reader(const std::string& name) : name_(name) {}

  absl::StatusOr<std::vector<FileSetting>> Read(const std::string& text) {
    const YAML::Mark second = SecondDocument::Find(text);
    if (!second.is_null()) Fail(LineOf(second), "a second document begins here");
    const YAML::Node document = YAML::Load(text);
    std::vector<FileSetting> settings;
    if (document.IsNull()) return Result(std::move(settings));
    if (!document.IsMap()) {
      Fail(LineOf(document.Mark()), "write settings as 'key: value' lines");
      return error_;
    }
    std::set<std::string> seen;
    for (const auto& entry : document) {
      FileSetting setting;
      setting.line = LineOf(entry.first.Mark());
      setting.key = Key(entry.first, &seen);
      if (entry.second.IsMap()) {
        setting.is_map = true;
        setting.entries = Entries(setting.key, entry.second);
      } else {
        setting.text = Text(setting.key, setting.line, entry.second);
      }
      settings.push_back(std::move(setting));
    }
    return Result(std::move(settings));
  }

 private:
  void Fail(int line, absl::string_view why) {
    if (!error_.ok()) return;
    error_ = absl::InvalidArgumentError(absl::StrCat(name_, ":", line, ": ", why));
  }

  absl::StatusOr<std::vector<FileSetting>> Result(std::vector<FileSetting> settings) const {
    if (!error_.ok()) return error_;
    return settings;
  }

  std::string Key(const YAML::Node& node, std::set<std::string>* seen) {
    const int line = LineOf(node.Mark());
    if (!node.IsScalar()) {
      Fail(line, "a key must be a plain word");
      return "";
    }
    if (!seen->insert(node.Scalar()).second) {
      Fail(line, absl::StrCat("key '", node.Scalar(), "' comes twice"));
    }
    return node.Scalar();
  }

  std::string Text(const std::string& key, int line, const YAML::Node& node) {
    if (node.IsScalar()) return node.Scalar();
    // A value that is missing stands nowhere: its key has the line.
    if (!node.IsNull()) line = LineOf(node.Mark());
    Fail(line,
         absl::StrCat("'", key, "' ", node.IsNull() ? "has no value" : "must be one value",
                      node.IsSequence() ? ", not a list" : "", node.IsMap() ? ", not a map" : ""));
    return "";
  }

  std::vector<FileSetting::Entry> Entries(const std::string& key, const YAML::Node& map) {
    std::vector<FileSetting::Entry> entries;
    std::set<std::string> seen;
    for (const auto& pair : map) {
      FileSetting::Entry entry;
      entry.line = LineOf(pair.first.Mark());
      entry.name = Key(pair.first, &seen);
      entry.text = Text(absl::StrCat(key, ".", entry.name), entry.line, pair.second);
      entries.push_back(std::move(entry));
    }
    return entries;
  }

  const std::string name_;
  absl::Status error_;
};

}  // namespace

absl::StatusOr<std::vector<FileSetting>> ParseSettings(const std::string& text,
                                                       const std::string& name) {
  // yaml-cpp throws; nothing of that leaves this function.
  try {
    return Reader(name).Read(text);
  } catch (const YAML::Exception& error) {
    return absl::InvalidArgumentError(absl::StrCat(name, ":", LineOf(error.mark), ": ", error.msg));
  }
}

absl::StatusOr<std::vector<FileSetting>> ReadSettingsFile(const std::string& path) {
  const auto unreadable = [&path](int error) {
    return absl::InvalidArgumentError(absl::StrCat("cannot read ", path, ": ", strerror(error)));
  };
  struct stat status;
  if (stat(path.c_str(), &status) != 0) return unreadable(errno);
  if (S_ISDIR(status.st_mode)) return unreadable(EISDIR);
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  if (!file) return unreadable(errno);
  const std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  if (file.bad()) return unreadable(EIO);
  return ParseSettings(text, path);
}

}  // namespace mailrail

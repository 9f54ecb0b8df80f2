"""The external repositories: all of them come from packages of Debian, none from the network.

deploy/install_deps.sh installs the packages. A library is found by pkg-config, and its headers are
in the compiler's own include path, so they count as system headers: our warnings spare them.
"""

_FIX = "run deploy/install_deps.sh"

def _linkopts(flags):
    """Keeps the linker's flags, each once, in one group; drops libraries that nothing uses."""
    unique = {flag: None for flag in flags if flag.startswith(("-l", "-L"))}
    if not unique:
        return []
    return (
        ["-Wl,--push-state,--as-needed", "-Wl,--start-group"] +
        unique.keys() +
        ["-Wl,--end-group", "-Wl,--pop-state"]
    )

def _cc_library(name, flags, always_linked = []):
    return """
cc_library(
    name = {name},
    linkopts = {linkopts},
)
""".format(name = repr(name), linkopts = repr(always_linked + _linkopts(flags)))

def _require(rctx, program):
    if not rctx.which(program):
        fail("@%s: no program %s: %s" % (rctx.name, program, _FIX))

def _pkg_config(rctx, packages):
    _require(rctx, "pkg-config")
    result = rctx.execute(["pkg-config", "--libs"] + packages)
    if result.return_code != 0:
        fail("@%s: pkg-config does not find %s: %s" % (rctx.name, " ".join(packages), _FIX))
    return result.stdout.strip().split(" ")

def _write_build_file(rctx, libraries):
    visibility = 'package(default_visibility = ["//visibility:public"])\n'
    rctx.file("BUILD.bazel", visibility + "".join(libraries))

def _pkg_config_repository_impl(rctx):
    for tool in rctx.attr.tools:
        _require(rctx, tool)
    libraries = []
    for name, packages in rctx.attr.libraries.items():
        always_linked = ["-l" + lib for lib in rctx.attr.always_linked.get(name, [])]
        libraries.append(_cc_library(name, _pkg_config(rctx, packages), always_linked))
    _write_build_file(rctx, libraries)

_pkg_config_repository = repository_rule(
    doc = "Libraries that are named one by one.",
    implementation = _pkg_config_repository_impl,
    attrs = {
        "libraries": attr.string_list_dict(
            doc = "Name of the cc_library -> the pkg-config packages that it consists of.",
            mandatory = True,
        ),
        "always_linked": attr.string_list_dict(
            doc = "Name of the cc_library -> libraries without a .pc file, linked even if unused.",
        ),
        "tools": attr.string_list(doc = "Programs that the repository's users call in a build."),
    },
)

_LIST_ABSL = """
pkg-config --list-package-names | grep '^absl_' | sort | while read -r package; do
  echo "${package#absl_} $(pkg-config --libs "$package")"
done
"""

def _absl_repository_impl(rctx):
    _pkg_config(rctx, ["absl_base"])
    lines = rctx.execute(["bash", "-c", _LIST_ABSL]).stdout.splitlines()
    libraries = []
    for line in lines:
        words = line.strip().split(" ")
        libraries.append(_cc_library(words[0], words[1:]))
    libraries.append('\nalias(name = "random", actual = ":random_random")\n')
    _write_build_file(rctx, libraries)

_absl_repository = repository_rule(
    doc = "One cc_library per library of Abseil, with headers only or not: absl_status is :status.",
    implementation = _absl_repository_impl,
)

# Of the C library and the compiler.
_SYSTEM_LIBRARIES = ["atomic", "dl", "pthread", "rt"]

def _archives_repository_impl(rctx):
    names = rctx.execute(["pkg-config", "--list-package-names"]).stdout.splitlines()
    packages = rctx.attr.packages + [
        name
        for name in names
        if any([name.startswith(prefix) for prefix in rctx.attr.prefixes])
    ]
    libraries = {flag[2:]: None for flag in _pkg_config(rctx, packages) if flag.startswith("-l")}
    for library in libraries.keys() + rctx.attr.libraries:
        if library in _SYSTEM_LIBRARIES + rctx.attr.excluded:
            continue
        file = "lib%s.a" % library
        path = rctx.execute(["g++", "-print-file-name=" + file]).stdout.strip()
        if not path.startswith("/"):
            fail("@%s: no %s: %s" % (rctx.name, file, _FIX))
        rctx.symlink(path, file)
    _write_build_file(rctx, ['filegroup(name = "archives", srcs = glob(["*.a"]))\n'])

_archives_repository = repository_rule(
    doc = "The static archives of libraries: a folder in which there is nothing else to link with.",
    implementation = _archives_repository_impl,
    attrs = {
        "excluded": attr.string_list(doc = "Libraries of these that stay shared."),
        "libraries": attr.string_list(doc = "Libraries without a .pc file."),
        "packages": attr.string_list(doc = "The pkg-config packages.", mandatory = True),
        "prefixes": attr.string_list(doc = "Beginnings of the names of more such packages."),
    },
)

def _files_repository_impl(rctx):
    for path, content in rctx.attr.files.items():
        rctx.file(path, content)

_files_repository = repository_rule(
    doc = "A repository whose files are written out here.",
    implementation = _files_repository_impl,
    attrs = {"files": attr.string_dict(mandatory = True)},
)

# Debian's bazel-rules-cc is too new for Debian's Bazel, so the native rules take its place.
_RULES_CC_DEFS = "".join(["%s = native.%s\n" % (rule, rule) for rule in [
    "cc_binary",
    "cc_import",
    "cc_library",
    "cc_proto_library",
    "cc_test",
    "cc_toolchain",
    "cc_toolchain_suite",
    "objc_import",
    "objc_library",
]])

def _local(name, path):
    native.local_repository(name = name, path = path)

def mailrail_repositories():
    """Declares every external repository of the build."""

    # What Bazel itself asks for.
    _local("bazel_skylib", "/usr/share/bazel/tools/skylib")
    _local("rules_java", "/usr/share/bazel/rules/java")
    _local("rules_proto", "/usr/share/bazel/rules/proto")
    _files_repository(
        name = "rules_cc",
        files = {"BUILD.bazel": "", "cc/BUILD.bazel": "", "cc/defs.bzl": _RULES_CC_DEFS},
    )
    _files_repository(
        name = "remote_coverage_tools",
        files = {"BUILD.bazel": """
filegroup(
    name = "coverage_report_generator",
    visibility = ["//visibility:public"],
)
"""},
    )

    # What Mailrail uses.
    _absl_repository(name = "absl")
    _archives_repository(
        name = "archives",
        # A correction of it by Debian reaches a program that is installed already.
        excluded = [
            "crypto",
            "ssl",
        ],
        libraries = ["grpc++_reflection"],
        packages = ["grpc++", "protobuf", "yaml-cpp"],
        prefixes = ["absl_"],
    )
    _pkg_config_repository(
        name = "cli11",
        libraries = {"cli11": ["CLI11"]},
    )
    _pkg_config_repository(
        name = "grpc",
        # gRPC's .pc file does not name absl_synchronization, which generated stubs need.
        libraries = {
            "grpc++": ["grpc++", "absl_synchronization"],
            "reflection": ["grpc++", "absl_synchronization", "protobuf"],
        },
        # It registers itself when it is loaded, so the linker sees no use of it.
        always_linked = {"reflection": ["grpc++_reflection"]},
        tools = ["grpc_cpp_plugin"],
    )
    _pkg_config_repository(
        name = "gtest",
        libraries = {
            "gmock": ["gmock"],
            "gtest": ["gtest"],
            "gtest_main": ["gtest_main"],
        },
    )
    _pkg_config_repository(
        name = "nlohmann_json",
        libraries = {"json": ["nlohmann_json"]},
    )
    _pkg_config_repository(
        name = "protobuf",
        libraries = {"protobuf": ["protobuf"]},
        tools = ["protoc"],
    )
    _pkg_config_repository(
        name = "yaml_cpp",
        libraries = {"yaml-cpp": ["yaml-cpp"]},
    )

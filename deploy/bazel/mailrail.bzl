"""Build rules with Mailrail's compiler flags.

    load("//deploy/bazel:mailrail.bzl", "mailrail_cc_library", "mailrail_cc_test")
"""

_STD = ["-std=c++20"]

_COPTS = _STD + [
    "-Wall",
    "-Wextra",
    "-Wconversion",
    "-Wshadow",
    "-Werror",
]

# ThreadSanitizer cannot see into Debian's Abseil; this tells it what a Mutex does.
_TSAN_DEPS = select({
    "//deploy/bazel:tsan": ["//deploy/bazel:tsan_absl"],
    "//conditions:default": [],
})

def mailrail_cc_library(name, copts = [], **kwargs):
    """A cc_library with our flags, linked statically."""
    native.cc_library(name = name, copts = _COPTS + copts, linkstatic = True, **kwargs)

def mailrail_cc_binary(name, copts = [], deps = [], from_archives = False, **kwargs):
    """A cc_binary with our flags.

    Args:
      name: of the cc_binary.
      copts: more flags for the compiler.
      deps: its libraries.
      from_archives: whether Debian's libraries (gRPC, Protobuf, Abseil, ...) go into the program,
        so that none of them is loaded and bound at each start. Never where only some of them would:
        a second Protobuf in one process ends it.
      **kwargs: passed on to the cc_binary.
    """
    if from_archives:
        # The linker looks into this folder first, wherever the flag stands; it has archives only.
        kwargs["linkopts"] = kwargs.get("linkopts", []) + select({
            # It finds the locks of Abseil in the shared library alone.
            "//deploy/bazel:tsan": [],
            "//conditions:default": ["-Lexternal/archives"],
        })
        kwargs["additional_linker_inputs"] = ["@archives//:archives"]
    native.cc_binary(name = name, copts = _COPTS + copts, deps = deps + _TSAN_DEPS, **kwargs)

def mailrail_cc_test(name, copts = [], deps = [], gtest = True, **kwargs):
    """A cc_test with our flags, and GoogleTest with main() and GoogleMock if `gtest` is True."""
    if gtest:
        deps = deps + ["@gtest//:gtest", "@gtest//:gmock", "@gtest//:gtest_main"]
    native.cc_test(
        name = name,
        copts = _COPTS + copts,
        linkstatic = True,
        deps = deps + _TSAN_DEPS,
        **kwargs
    )

def _protos(label):
    if ":" not in label:
        fail("write the proto dependency %s as \"package:name\"" % label)
    return label + "_protos"

def mailrail_proto_library(name, srcs, grpc = False, deps = [], **kwargs):
    """A cc_library of what protoc generates.

    The header of proto/agent.proto is included as "proto/agent.pb.h", and another .proto file
    imports it as "proto/agent.proto", wherever either is. Generated headers are system headers to
    those who include them, so our warnings spare them.

    Args:
      name: of the cc_library.
      srcs: the .proto files, of this package.
      grpc: whether to generate service stubs ("proto/agent.grpc.pb.h") too.
      deps: other mailrail_proto_library targets whose files are imported.
      **kwargs: passed on to the cc_library.
    """
    native.filegroup(
        name = name + "_protos",
        srcs = srcs + [_protos(dep) for dep in deps],
        visibility = kwargs.get("visibility"),
    )

    # The folder is no part of any path in an #include: `includes` below takes it away.
    folder = name + "_gen"
    stems = ["%s/%s/%s" % (folder, native.package_name(), src[:-len(".proto")]) for src in srcs]
    suffixes = [".pb"] + ([".grpc.pb"] if grpc else [])
    hdrs = [stem + suffix + ".h" for stem in stems for suffix in suffixes]
    sources = [stem + suffix + ".cc" for stem in stems for suffix in suffixes]

    out = "$(RULEDIR)/" + folder
    command = ["protoc", "-I.", "-I/usr/include", "--cpp_out=" + out]
    if grpc:
        command += ["--plugin=protoc-gen-grpc=$$(command -v grpc_cpp_plugin)", "--grpc_out=" + out]
    command += ["$(execpath %s)" % src for src in srcs]

    native.genrule(
        name = name + "_protoc",
        srcs = srcs + [_protos(dep) for dep in deps],
        outs = hdrs + sources,
        cmd = "mkdir -p %s && %s" % (out, " ".join(command)),
        visibility = ["//visibility:private"],
    )
    native.cc_library(
        name = name,
        srcs = sources,
        hdrs = hdrs,
        copts = _STD + ["-w"],
        includes = [folder],
        linkstatic = True,
        deps = deps + ["@protobuf//:protobuf"] + (["@grpc//:grpc++"] if grpc else []),
        **kwargs
    )

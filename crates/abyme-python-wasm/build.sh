#!/usr/bin/env bash
# Builds python.wasm (CPython and guest/*.c as one WASI module) and stdlib.tar from pinned sources, byte for
# byte the same in any directory. `cargo xtask python-wasm` runs this, compresses the result and puts it into
# data/.
#
# usage: build.sh WORK_DIR OUTPUT_DIR
#
# WORK_DIR keeps everything between runs: a changed guest/*.c is a relink of seconds. A changed build.sh
# starts afresh, but keeps the downloads. OUTPUT_DIR receives python.wasm, stdlib.tar, versions.toml and
# licenses/.
#
# DOWNLOADS=DIR keeps the downloads elsewhere (default WORK_DIR/downloads). Files that are there are not
# fetched again: a machine without a package mirror can be given the two source archives and the wheel by
# hand. JOBS=N limits `make`.
set -euo pipefail

PYTHON_VERSION=3.13.5
PYTHON_SOURCE=python3.13_3.13.5.orig.tar.xz
PYTHON_SHA256=93e583f243454e6e9e4588ca2c2662206ad961659863277afcdb96801647d640
ZLIB_VERSION=1.3.1
ZLIB_SOURCE=zlib_1.3.dfsg+really1.3.1.orig.tar.gz
ZLIB_SHA256=60dd315c07f616887caa029408308a018ace66e3d142726a97db164b3b8f69fb
ZIG_VERSION=0.17.0
# The Debian release whose source packages these are.
SUITE=trixie
STACK_SIZE=$((8 * 1024 * 1024))

fail() {
    printf 'build.sh: %s\n' "$*" >&2
    exit 1
}

step() { printf 'python-wasm: %s\n' "$*" >&2; }

# logged LOG COMMAND...: runs a command into a log, and shows the log's end when it fails.
logged() {
    local log=$1
    shift
    "$@" > "$log" 2>&1 || {
        tail -n 30 "$log" >&2
        fail "\`$1\` failed; all of its output is in $log"
    }
}

need() { command -v "$1" > /dev/null || fail "\`$1\` is needed ($2), and is not on this machine"; }

has_sha256() { echo "$2  $1" | sha256sum --check --status 2> /dev/null; }

check_machine() {
    [[ $WORK != *[[:space:]]* ]] || fail "CPython cannot be built below a path with white space: $WORK"
    need make "package make"
    need tar "package tar"
    need xz "package xz-utils"
    need sha256sum "package coreutils"
    need flock "package util-linux"
    need python3 "package python3, with pip; it only fetches and unpacks the compiler"
    tar --version | grep -q GNU || fail "GNU tar is needed: its options make the archive reproducible"
    # Only this platform's compiler is known to give these bytes.
    case "$(uname -s)-$(uname -m)" in
        Linux-x86_64)
            ZIG_WHEEL=ziglang-$ZIG_VERSION-py3-none-manylinux_2_12_x86_64.manylinux2010_x86_64.musllinux_1_1_x86_64.whl
            ZIG_SHA256=97079827064a7492cce5541ceb438ae8003ce1e54e399676da2d62fb7a5dc08b
            ;;
        *)
            fail "no ziglang $ZIG_VERSION wheel is pinned for $(uname -s) $(uname -m):" \
                "build on Linux x86_64, or add the wheel's name and sha256 to check_machine in build.sh" ;;
    esac
}

# Nothing of the caller's settings may reach the compilers or CPython's own build.
clean_environment() {
    unset CC CPP CXX LD AR RANLIB CFLAGS CPPFLAGS CXXFLAGS LDFLAGS LIBS CPATH C_INCLUDE_PATH LIBRARY_PATH
    unset MAKEFLAGS MAKELEVEL MFLAGS CONFIG_SITE PYTHONHOME PYTHONPATH PYTHONSTARTUP PYTHONOPTIMIZE
    unset ZERO_AR_DATE
    export SOURCE_DATE_EPOCH=1750000000 TZ=UTC LC_ALL=C
    umask 022
}

# A work directory that another version of this script made is started afresh: its steps cannot be told apart.
prepare_work() {
    local key
    key=$(sha256sum < "${BASH_SOURCE[0]}")
    exec 9> "$WORK/lock"
    flock --nonblock 9 || fail "another build runs in $WORK"
    if [[ $(cat "$WORK/key" 2> /dev/null) != "$key" ]]; then
        rm -rf "${WORK:?}"/{key,bin,cache,zig,native,wasm,guest,zlib,stdlib,config.site} "$WORK"/Python-*
        echo "$key" > "$WORK/key"
    fi
    mkdir -p "$WORK"/{bin,cache,guest}
}

# source_package PACKAGE FILE SHA256: fetches a source package's upstream archive.
#
# It comes through apt's own configuration: the first entry of this machine's Debian sources with the suite
# replaced, in a private apt state, so that nothing on the machine changes and no server is named here.
source_package() {
    local package=$1 file=$2 sha256=$3 apt=$DOWNLOADS/apt sources=/etc/apt/sources.list.d/debian.sources
    has_sha256 "$DOWNLOADS/$file" "$sha256" && return
    local by_hand="or put $file (sha256 $sha256) into $DOWNLOADS by hand"
    command -v apt-get > /dev/null \
        || fail "\`apt-get\` is needed to fetch $package: build on Debian, $by_hand"
    [[ -r $sources ]] || fail "$sources is needed to fetch $package: build on Debian 12 or later, $by_hand"
    step "fetching the source package $package"
    mkdir -p "$apt"/{lists,cache}/partial "$apt/source"
    awk -v RS= 'NR == 1' "$sources" \
        | sed -E "s/^Types:.*/Types: deb-src/; s/^Suites:.*/Suites: $SUITE/" \
        | sed -E "s/^Components:.*/Components: main/" > "$apt/$SUITE.sources"
    local options=(-q -o "Dir::Etc::SourceList=$apt/$SUITE.sources" -o Dir::Etc::SourceParts=-
        -o "Dir::State::Lists=$apt/lists" -o "Dir::Cache=$apt/cache" -o APT::Sandbox::User=)
    [[ -e $apt/updated ]] || logged "$apt/update.log" apt-get "${options[@]}" update
    touch "$apt/updated"
    # The archive is all that is needed. What comes with it changes with each of Debian's revisions, and is
    # missing on mirrors in between.
    (cd "$apt/source" && apt-get "${options[@]}" source --download-only "$package") \
        > "$apt/$package.log" 2>&1 || true
    [[ -e $apt/source/$file ]] || {
        tail -n 30 "$apt/$package.log" >&2
        fail "$file did not come; if $SUITE has another version now, raise ours, $by_hand"
    }
    has_sha256 "$apt/source/$file" "$sha256" \
        || fail "$file has not the sha256 $sha256: nothing was built from it"
    mv "$apt/source/$file" "$DOWNLOADS/$file"
}

# The compiler is a Python wheel: clang, lld and the libc for WASI in one file.
compiler() {
    if ! has_sha256 "$DOWNLOADS/$ZIG_WHEEL" "$ZIG_SHA256"; then
        step "fetching ziglang $ZIG_VERSION"
        python3 -m pip --version > /dev/null 2>&1 \
            || fail "\`python3 -m pip\` does not run (package python3-pip)"
        echo "ziglang==$ZIG_VERSION --hash=sha256:$ZIG_SHA256" > "$DOWNLOADS/ziglang.txt"
        logged "$DOWNLOADS/pip.log" python3 -m pip download --no-deps --only-binary :all: --require-hashes \
            --dest "$DOWNLOADS" --requirement "$DOWNLOADS/ziglang.txt"
        has_sha256 "$DOWNLOADS/$ZIG_WHEEL" "$ZIG_SHA256" || fail "pip fetched another file than $ZIG_WHEEL"
    fi
    [[ -e $WORK/zig/done ]] && return
    step "unpacking ziglang"
    python3 -m zipfile -e "$DOWNLOADS/$ZIG_WHEEL" "$WORK/zig"
    chmod +x "$WORK/zig/ziglang/zig"
    touch "$WORK/zig/done"
}

# zig_tool NAME COMMAND...: a command of zig's as a program that CPython's build can call.
zig_tool() {
    local name=$1
    shift
    cat > "$WORK/bin/$name" << TOOL
#!/usr/bin/env bash
export ZIG_GLOBAL_CACHE_DIR=$WORK/cache ZIG_LOCAL_CACHE_DIR=$WORK/cache
arguments=()
for argument in "\$@"; do
    # zig does not know these options of the linker. It puts the stack first anyway.
    case "\$argument" in
        -Wl,--stack-first | -Wl,--initial-memory=*) ;;
        *) arguments+=("\$argument") ;;
    esac
done
exec $WORK/zig/ziglang/zig $* "\${arguments[@]}"
TOOL
    chmod +x "$WORK/bin/$name"
}

tools() {
    # zig turns its checks for undefined behaviour on, and refuses dates, unless told otherwise. The dates are
    # SOURCE_DATE_EPOCH's.
    local common="-fno-sanitize=undefined -Wno-date-time -Wno-error=date-time"
    zig_tool wasm-cc cc -target wasm32-wasi $common \
        "-ffile-prefix-map=$WORK=/build" "-ffile-prefix-map=$HERE=/abyme"
    # musl, so that no library of this machine is found and linked.
    zig_tool native-cc cc -target x86_64-linux-musl $common
    zig_tool zig-ar ar
    zig_tool zig-ranlib ranlib
    export PATH=$WORK/bin:$PATH
}

# limit_recursion FILE: lets all calls that CPython has specialised obey the recursion limit. Four of them do
# not in 3.13 (github.com/python/cpython/issues/132744), so that runaway recursion of a function with a
# default argument ends in a full memory and a SystemError.
limit_recursion() {
    local calls='CALL_PY_GENERAL|CALL_BOUND_METHOD_GENERAL|CALL_ALLOC_AND_ENTER_INIT|FOR_ITER_GEN'
    local check='tstate->interp->eval_frame' limit='tstate->py_recursion_remaining <= 1'
    sed -E -i "/TARGET\\(($calls)\\)/,/DISPATCH\\(\\);/ s/DEOPT_IF\\($check, /DEOPT_IF($check || $limit, /" "$1"
    [[ $(grep -cF "$check || $limit" "$1") -eq 4 ]] || fail "the calls to limit are not where they were in $1"
}

unpack() {
    [[ -e $WORK/Python-$PYTHON_VERSION/unpacked ]] || {
        step "unpacking CPython $PYTHON_VERSION"
        tar -xJf "$DOWNLOADS/$PYTHON_SOURCE" -C "$WORK"
        limit_recursion "$WORK/Python-$PYTHON_VERSION/Python/generated_cases.c.h"
        touch "$WORK/Python-$PYTHON_VERSION/unpacked"
    }
    [[ -e $WORK/zlib/unpacked ]] || {
        mkdir -p "$WORK/zlib"
        tar -xzf "$DOWNLOADS/$ZLIB_SOURCE" -C "$WORK/zlib" --strip-components=1
        touch "$WORK/zlib/unpacked"
    }
}

# CPython compiles the modules that are frozen into it with a Python of this machine, and the bytes depend on
# that Python's patch version (3.13.0 and 3.13.5 differ). So that Python is built from the same sources;
# nothing but speed of building speaks for optimising it.
native_python() {
    [[ -e $WORK/native/done ]] && return
    step "building CPython for this machine, which the build for WASI needs"
    mkdir -p "$WORK/native"
    cd "$WORK/native"
    CC=native-cc AR=zig-ar RANLIB=zig-ranlib PKG_CONFIG=false MODULE_BUILDTYPE=static \
        logged configure.log "../Python-$PYTHON_VERSION/configure" --build=x86_64-pc-linux-gnu \
        --disable-test-modules --without-ensurepip --without-mimalloc OPT="-O0 -DNDEBUG" CFLAGS=-g0
    logged make.log make -j"$JOBS" python
    touch done
}

zlib() {
    [[ -e $WORK/zlib/libz.a ]] && return
    step "building zlib $ZLIB_VERSION"
    cd "$WORK/zlib"
    local file
    for file in adler32 crc32 deflate infback inffast inflate inftrees trees zutil compress uncompr; do
        wasm-cc -O3 -g0 -c "$file.c" -o "$file.o"
    done
    zig-ar rcs libz.new ./*.o
    mv libz.new libz.a
}

# The answers that a test on this machine would get wrong. zig puts the headers of WASI over those of musl, so
# a test that only compiles finds functions which WASI has not.
config_site() {
    cat > "$WORK/config.site" << SITE
. "$WORK/Python-$PYTHON_VERSION/Tools/wasm/config.site-wasm32-wasi"
ac_cv_func_mmap=no
ac_cv_func_epoll_create=no
ac_cv_func_epoll_create1=no
ac_cv_header_sys_epoll_h=no
ac_cv_func_setgroups=no
ac_cv_func_timerfd_create=no
ac_cv_header_sys_timerfd_h=no
ac_cv_header_libintl_h=no
ac_cv_header_sys_eventfd_h=no
ac_cv_func_eventfd=no
SITE
}

python_library() {
    [[ -e $WORK/wasm/done ]] && return
    step "building CPython $PYTHON_VERSION for WASI"
    mkdir -p "$WORK/wasm"
    cd "$WORK/wasm"
    config_site
    # The socket module names SOCK_RAW, which the headers lack; there are no sockets.
    CONFIG_SITE=$WORK/config.site CC=wasm-cc CPP="wasm-cc -E" AR=zig-ar RANLIB=zig-ranlib PKG_CONFIG=false \
        HOSTRUNNER=true CFLAGS=-g0 CPPFLAGS=-DSOCK_RAW=3 \
        ZLIB_CFLAGS="-I$WORK/zlib" ZLIB_LIBS="-L$WORK/zlib -lz" \
        logged configure.log "../Python-$PYTHON_VERSION/configure" --host=wasm32-wasip1 \
        --build=x86_64-pc-linux-gnu --with-build-python="$WORK/native/python" --disable-test-modules \
        --without-ensurepip --without-mimalloc --with-suffix=.wasm
    logged make.log make -j"$JOBS" libpython3.13.a Modules/expat/libexpat.a \
        Modules/_decimal/libmpdec/libmpdec.a \
        Modules/_hacl/libHacl_Hash_SHA2.a
    logged sysconfig.log make pybuilddir.txt
    touch done
}

# Guest sources are compiled every time: it takes seconds.
link() {
    step "compiling guest/*.c and linking python.wasm"
    cd "$WORK/wasm"
    local source objects=()
    for source in "$HERE"/guest/*.c; do
        [[ -e $source ]] || fail "there is no C source in $HERE/guest"
        wasm-cc -std=c11 -O2 -g0 -DNDEBUG -DPy_BUILD_CORE -fno-strict-overflow -Wall -Wextra \
            -Wno-unused-parameter -Wno-missing-field-initializers -D_WASI_EMULATED_SIGNAL \
            -D_WASI_EMULATED_PROCESS_CLOCKS -D_WASI_EMULATED_GETPID -I"../Python-$PYTHON_VERSION/Include" \
            -I"../Python-$PYTHON_VERSION/Include/internal" -I. \
            -c "$source" -o "$WORK/guest/$(basename "$source" .c).o"
        objects+=("$WORK/guest/$(basename "$source" .c).o")
    done
    wasm-cc -mexec-model=reactor -O2 -g0 -s -o "$OUT/python.wasm" "${objects[@]}" \
        libpython3.13.a Modules/_hacl/libHacl_Hash_SHA2.a Modules/expat/libexpat.a \
        Modules/_decimal/libmpdec/libmpdec.a ../zlib/libz.a -lwasi-emulated-signal -lwasi-emulated-getpid \
        -lwasi-emulated-process-clocks -z "stack-size=$STACK_SIZE"
}

# What the standard library's archive leaves out: tests, programs with a window, what installs packages, the
# texts of help topics, and packages that are useless without a C part which this build has not.
LEFT_OUT=(
    test __hello__.py __phello__ ensurepip idlelib pydoc_data site-packages tkinter turtle.py turtledemo venv
    ctypes curses sqlite3
)

stdlib() {
    step "packing the standard library"
    local staged=$WORK/stdlib
    rm -rf "$staged"
    cp -R "$WORK/Python-$PYTHON_VERSION/Lib" "$staged"
    cd "$staged"
    rm -rf "${LEFT_OUT[@]}"
    find . -depth -type d \( -name __pycache__ -o -name test -o -name tests \) -exec rm -rf {} +
    # Of the interactive interpreter only the part stays that `pydoc`, and so `help()`, imports.
    find ./_pyrepl -type f ! -name __init__.py ! -name pager.py -delete
    find . -type f ! -name '*.py' -delete
    # `sysconfig` reads the settings of the build. They name paths of this machine, which are no one's
    # business.
    local settings
    settings=$(echo "$WORK"/wasm/build/lib.*/_sysconfigdata_*.py)
    [[ -e $settings ]] || fail "CPython's build made no _sysconfigdata: see $WORK/wasm/sysconfig.log"
    sed "s#$WORK#/build#g" "$settings" > "$(basename "$settings")"
    ! grep -qF -e "$WORK" -e "$HERE" "$(basename "$settings")" \
        || fail "$settings still names a path of this machine"
    find . -type f -printf '%P\0' | sort -z \
        | tar --create --file "$OUT/stdlib.tar" --format=ustar --null --no-recursion --files-from=- \
            --owner=0 --group=0 --numeric-owner --mtime=@0 --mode=0644
}

# comment FILE: the text of the comment a C file begins with.
comment() {
    sed -n '1,/\*\//p' "$1" | sed -E 's#^ ?/?\*+/? ?##; s# *\*/$##' | sed -e '1{/^$/d}' -e '${/^$/d}'
}

# The licences of everything whose code is in python.wasm or stdlib.tar, in full.
licenses() {
    step "collecting the licences"
    local python=$WORK/Python-$PYTHON_VERSION libc=$WORK/zig/ziglang/lib/libc/wasi to=$OUT/licenses
    rm -rf "$to"
    mkdir -p "$to"
    cp "$python/LICENSE" "$to/cpython.txt"
    # CPython lists here what it took from others: Mersenne Twister, SipHash24, dtoa, asyncio's parts and
    # more.
    sed -n '/^Licenses and Acknowledgements/,$p' "$python/Doc/license.rst" > "$to/cpython-incorporated.txt"
    cp "$python/Modules/expat/COPYING" "$to/expat.txt"
    comment "$python/Modules/_decimal/libmpdec/mpdecimal.c" > "$to/libmpdec.txt"
    comment "$python/Modules/_hacl/Hacl_Hash_SHA2.c" > "$to/hacl-star.txt"
    comment "$python/Modules/_blake2/impl/blake2.h" > "$to/blake2.txt"
    cp "$WORK/zlib/LICENSE" "$to/zlib.txt"
    cp "$WORK/zig/ziglang/LICENSE" "$to/zig-compiler-rt.txt"
    cp "$libc/LICENSE" "$to/wasi-libc.txt"
    cp "$libc/LICENSE-MIT" "$to/wasi-libc-mit.txt"
    cp "$libc/LICENSE-APACHE" "$to/wasi-libc-apache.txt"
    cp "$libc/LICENSE-APACHE-LLVM" "$to/wasi-libc-apache-llvm.txt"
    cp "$libc/libc-bottom-half/cloudlibc/LICENSE" "$to/wasi-libc-cloudlibc.txt"
    cp "$libc/libc-top-half/musl/COPYRIGHT" "$to/wasi-libc-musl.txt"
    local file
    for file in "$to"/*; do
        [[ $(wc -c < "$file") -gt 400 ]] || fail "no licence text was found for $(basename "$file")"
    done
}

versions() {
    cat > "$OUT/versions.toml" << VERSIONS
# What python.wasm and stdlib.tar were built from; the source archives with their sha256.
[python]
version = "$PYTHON_VERSION"
source = "$PYTHON_SOURCE"
sha256 = "$PYTHON_SHA256"

[zlib]
version = "$ZLIB_VERSION"
source = "$ZLIB_SOURCE"
sha256 = "$ZLIB_SHA256"

[ziglang]
version = "$ZIG_VERSION"
source = "$ZIG_WHEEL"
sha256 = "$ZIG_SHA256"
VERSIONS
}

main() {
    [[ $# -eq 2 ]] || fail "usage: build.sh WORK_DIR OUTPUT_DIR"
    mkdir -p "$1" "$2" "${DOWNLOADS:=$1/downloads}"
    WORK=$(cd "$1" && pwd -P)
    OUT=$(cd "$2" && pwd -P)
    DOWNLOADS=$(cd "$DOWNLOADS" && pwd -P)
    HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
    JOBS=${JOBS:-$(nproc)}

    check_machine
    clean_environment
    prepare_work
    compiler
    source_package python3.13 "$PYTHON_SOURCE" "$PYTHON_SHA256"
    source_package zlib "$ZLIB_SOURCE" "$ZLIB_SHA256"
    tools
    unpack
    native_python
    zlib
    python_library
    link
    stdlib
    licenses
    versions
}

main "$@"

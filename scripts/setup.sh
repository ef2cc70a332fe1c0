#!/usr/bin/env bash
# Make .venv ready: Python, system libraries, pinned packages, this project.
# Safe to interrupt and to run again. PYTHON=... chooses the interpreter.
# With the word "peers": add the IK solvers that the bench measures beside ours to a .venv that is ready.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf 'setup: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

# install_debian WHY PACKAGE...: install as root, else print the line to run and stop.
install_debian() {
    local why=$1
    shift
    command -v apt-get >/dev/null || fail "$why. Install what Debian calls: $*"
    [ "$(id -u)" = 0 ] || fail "$why. Run: sudo apt-get install -y $*"
    say "$why: installing $*"
    apt-get update -q >&2
    DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "$@" >&2
}

find_python() {
    local candidate
    for candidate in ${PYTHON:-python3.11 python3 python3.12 python3.13}; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    fail "${PYTHON:-Python 3.11 or newer} was not found. Run: sudo apt-get install -y python3.11 python3.11-venv (or set PYTHON=/path/to/python3.11)"
}

check_libraries() {
    local known missing=() pair
    known=$(PATH="$PATH:/sbin:/usr/sbin" ldconfig -p 2>/dev/null) || return 0 # not glibc: let the imports tell
    for pair in libGL.so.1=libgl1 libglib-2.0.so.0=libglib2.0-0 libxcb.so.1=libxcb1 \
        libEGL.so.1=libegl1 libusb-1.0.so.0=libusb-1.0-0 libgomp.so.1=libgomp1; do
        grep -qF "${pair%%=*} " <<<"$known" || missing+=("${pair##*=}")
    done
    [ ${#missing[@]} = 0 ] || install_debian "OpenCV and Open3D need system libraries" "${missing[@]}"
}

make_venv() {
    local python=$1 version
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    [ "$version" = 3.11 ] || say "Python $version: PyBullet is left out (it has wheels up to 3.11), so the simulation will not run."
    "$python" -c 'import venv, ensurepip' 2>/dev/null ||
        install_debian "Python $version has no venv module" "python$version-venv"
    if ! .venv/bin/python -c "import sys, pip; sys.exit('%d.%d' % sys.version_info[:2] != '$version')" 2>/dev/null; then
        say "making .venv with Python $version"
        "$python" -m venv --clear .venv
    fi
    rm -f .venv/.ready
}

# pip writes INSTALLER last; a package without it was cut off half-way, and pip would believe it is there.
drop_half_installed() {
    local packages=(.venv/lib/python*/site-packages) info
    for info in "${packages[0]}"/*.dist-info; do
        if [ -d "$info" ] && [ ! -e "$info/INSTALLER" ]; then
            say "repairing $(basename "$info" .dist-info)"
            rm -rf "$info"
        fi
    done
    rm -rf "${packages[0]}"/~*
}

install_packages() {
    local pip=(.venv/bin/python -m pip --disable-pip-version-check install --quiet)
    "${pip[@]}" --upgrade 'pip>=25.1' # the first with --group
    # torch by itself and exact: a looser request pulls gigabytes of CUDA.
    say "installing torch"
    "${pip[@]}" -c constraints.txt "$(grep '^torch==' constraints.txt)" setuptools
    say "installing everything else"
    rm -rf ./*.egg-info # left by other ways to install; run from here, it would hide what is installed
    # setuptools warns of every editable install; there is nothing to act on.
    PYTHONWARNINGS=ignore "${pip[@]}" -c constraints.txt --no-build-isolation -e . --group dev
}

# A peer without a wheel for this machine must not cost the bench the others, so then each is tried alone.
install_peers() {
    local pip=(.venv/bin/python -m pip --disable-pip-version-check install --quiet -c constraints.txt)
    local peers peer
    mapfile -t peers < <(.venv/bin/python -c 'import tomllib
print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["bench"], sep="\n")')
    say "installing the peers of the bench"
    "${pip[@]}" "${peers[@]}" && return
    for peer in "${peers[@]}"; do
        "${pip[@]}" "$peer" || say "$peer cannot be installed here; the bench will say so"
    done
}

if [ "${1:-}" = peers ]; then
    install_peers
    touch .venv/.peers
    exit
fi

check_libraries
python=$(find_python)
make_venv "$python"
drop_half_installed
install_packages
.venv/bin/python -m pip check
touch .venv/.ready
say "ready: .venv/bin/vision-ik --help"

# Functions for scripts that use Debian's packages without installing them. To be sourced.

# debian_unpack FOLDER PACKAGE[=VERSION]...: unpacks the packages into a folder, unless that was done before. Their
# dependencies are not unpacked. A version can be a pattern.
debian_unpack() {
    folder=$1
    shift
    [ "$(cat "$folder/unpacked" 2>/dev/null)" != "$*" ] || return 0
    for tool in apt-get dpkg; do
        command -v "$tool" >/dev/null 2>&1 || debian_fail "needs the packages $*, and there is no $tool to get them with"
    done
    rm -rf "$folder"
    mkdir -p "$folder/packages"
    # A new machine has no package lists, and an old one may have lists without these versions.
    if ! debian_download "$folder/packages" "$@" >/dev/null 2>&1; then
        debian_as_root apt-get update >/dev/null 2>&1 || true
        debian_download "$folder/packages" "$@" >&2 || debian_fail "apt-get could not download $*"
    fi
    for package in "$folder"/packages/*.deb; do
        dpkg -x "$package" "$folder"
    done
    rm -r "$folder/packages"
    echo "$*" >"$folder/unpacked"
}

# Prints the value of LD_LIBRARY_PATH for programs in such a folder.
debian_libraries() {
    for libraries in "$1"/usr/lib/*-linux-gnu "$1"/lib/*-linux-gnu; do
        [ ! -d "$libraries" ] || printf '%s:' "$libraries"
    done
}

debian_download() (
    cd "$1"
    shift
    apt-get download "$@"
)

debian_as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@" </dev/null
    else
        sudo "$@" </dev/null
    fi
}

debian_fail() {
    echo "$(basename "$0" .sh): $*" >&2
    exit 1
}

#!/bin/sh
# Installs this package with no network, into a release of its own that is tested before anything points at it.
#
# Nothing refers to a new release until its self-test has passed; then one symbolic link is renamed. So the earlier
# version answers until that moment, whatever fails and whenever power is cut, and the next run clears what was left.
#
# Exit codes: 0 installed; 2 usage, or not the machine that the package is for; 3 package altered; 4 self-test failed,
# or the new release did not answer once it was in use, and the earlier one is in use again;
# 5 Python or a package of the system is missing; 6 disk full, or writing failed.
set -eu
umask 022

# What package.conf, beside this file, says of the package.
target='' python='' system='' engine='' version='' number='' system_numpy='' needed_kb='' pip='' trim='' domain=''
# Of the services: owns the results and the answers of edge-serve, reads the inbox, and may write to nothing else.
service_user=fracture-edge
commands='edge-infer edge-device edge-serve'

usage() {
    cat <<'TEXT'
Usage: ./install.sh [--prefix DIR] [--python FILE] [--pin PUB] [--link DIR | --no-link]
                    [--service | --user-service | --no-service] [--serve [--watch]]

  --prefix DIR     where to install [default: /opt/fracture-edge as root, else ~/fracture-edge]
  --python FILE    the Python to use [default: one of a right version in PATH]
  --pin PUB        from now on install only packages that this key has signed, this one included
  --link DIR       put links to the commands there [default: /usr/local/bin as root, else ~/.local/bin,
                   where --prefix is the default too]
  --no-link        put no links anywhere
  --service        also watch PREFIX/inbox from boot on (as root; systemd)
  --user-service   the same for this user alone (systemd)
  --no-service     install the commands only [default]
  --serve          also run edge-serve from boot on, a page on http://127.0.0.1:8080 (systemd)
  --watch          have edge-serve watch PREFIX/inbox too: one process, in place of --service
TEXT
}

say() { printf '%s\n' "$*"; }

# fail CODE MESSAGE
fail() {
    code=$1
    shift
    printf 'error: %s\n' "$*" >&2
    exit "$code"
}

read_arguments() {
    prefix='' python_file='' pin='' link='' linking=yes service=none serve=no watch=no
    while [ $# -gt 0 ]; do
        case $1 in
        --prefix | --python | --pin | --link)
            [ $# -ge 2 ] || fail 2 "$1: a path was expected after it"
            case $1 in --prefix) prefix=$2 ;; --python) python_file=$2 ;; --pin) pin=$2 ;; *) link=$2 ;; esac
            shift
            ;;
        --no-link) linking=no ;;
        --serve) serve=yes ;;
        --watch) watch=yes ;;
        --service) service=system ;;
        --user-service) service=user ;;
        --no-service) service=none ;;
        --help) usage && exit 0 ;;
        *) usage >&2 && fail 2 "$1: no such option" ;;
        esac
        shift
    done
    [ -n "$prefix" ] || prefix=$(default_prefix)
    prefix=$(readlink -m -- "$prefix") || fail 2 "--prefix: no such path can be"
    releases=$prefix/releases
    # A second installation elsewhere does not take the commands over from the first, unless it is asked to.
    [ -n "$link" ] || [ "$prefix" != "$(readlink -m -- "$(default_prefix)")" ] || link=$(default_link)
    [ "$linking" = yes ] || link=''
    [ -z "$link" ] || link=$(readlink -m -- "$link") || fail 2 "--link: no such path can be"
    [ "$watch" = no ] || [ "$serve$service" = yesnone ] ||
        fail 2 "--watch belongs to --serve, and takes the place of --service"
    if [ "$service" != none ]; then
        scope=$service
    elif [ "$(id -u)" -eq 0 ]; then
        scope=system
    else
        scope=user
    fi
}

# package.conf is read and never run: a line is a name and a value of harmless characters. Verified files only.
read_settings() {
    while IFS='=' read -r name value; do
        case $value in *..* | *[!A-Za-z0-9\ ,./*_+-]*) fail 3 "package.conf: $name has a value that no package has" ;; esac
        case $name in
        target) target=$value ;;
        python) python=$value ;;
        system) system=$value ;;
        engine) engine=$value ;;
        version) version=$value ;;
        number) number=$value ;;
        system_numpy) system_numpy=$value ;;
        needed_kb) needed_kb=$value ;;
        pip) pip=$value ;;
        trim) trim=$value ;;
        domain) domain=$value ;;
        *) fail 3 "package.conf: an unknown name; the package and its installer do not belong together" ;;
        esac
    done <"$here/package.conf"
    case $pip in wheels/pip-*.whl) ;; *) fail 3 "package.conf: names no wheel of pip" ;; esac
    case " $trim" in *' /'*) fail 3 "package.conf: trims outside of the installation" ;; esac
}

default_prefix() {
    if [ "$(id -u)" -eq 0 ]; then echo /opt/fracture-edge; else echo "$HOME/fracture-edge"; fi
}

default_link() {
    if [ "$(id -u)" -eq 0 ]; then echo /usr/local/bin; else echo "$HOME/.local/bin"; fi
}

# With a pinned key it is the installed version that opens a package: this script is in it, and proves nothing of itself.
check_pinned_key() {
    [ -z "$pin" ] || [ -f "$pin" ] || fail 2 "--pin $pin: no such file"
    [ -e "$prefix/trusted.pub" ] && [ "${EDGE_PACKAGE_VERIFIED:-}" != yes ] || return 0
    fail 3 "a key is pinned here: install this package with $prefix/bin/edge-device install FILE.zip"
}

# Who signed, for people to compare, and how to check that without anything of this package.
tell_signer() {
    [ -f "$here/signing.pub" ] && [ "${EDGE_PACKAGE_VERIFIED:-}" != yes ] || return 0
    say "this package says that it was signed with the key of SHA-256"
    say "  $(sed -e '/-----/d' "$here/signing.pub" | base64 -d | sha256sum | cut -d ' ' -f 1)"
    say "compare that with the signer's own word; this line, with his key, checks the archive beside it by hand:"
    say "  openssl pkeyutl -verify -pubin -inkey KEY.pub -rawin -in $(basename -- "$here").zip" \
        "-sigfile $(basename -- "$here").zip.sig"
}

# The new release has the verifier: with it, and a key that came another way, the package is proven after all.
check_pin() {
    [ -n "$pin" ] || return 0
    "$1/venv/bin/edge-device" verify "$here" --key "$pin" --signature package.sig >&2 ||
        fail 3 "this package is not signed by $pin"
}

# The one that is given, else the system's own where the package fits it, else any that it fits.
find_python() {
    if [ -n "$python_file" ]; then
        found=$(version_of "$python_file") || fail 5 "$python_file: does not run"
        return 0
    fi
    for each in 3 $python; do
        python_file=$(command -v "python$each") && found=$(version_of "$python_file") && fits_python && return 0
    done
    python_file=$(command -v python3) || fail 5 "Python $python is needed ($system); this machine has no python3"
    found=$(version_of "$python_file") || fail 5 "$python_file: does not run"
}

version_of() { "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null; }

fits_python() {
    case " $python " in *" $found "*) ;; *) return 1 ;; esac
}

# A 32-bit system may run on a 64-bit kernel, as Raspberry Pi OS does: it is Python that has to fit, not the kernel.
check_machine() {
    machine=$("$python_file" -c '
import platform, struct
machine, bits = platform.machine(), 8 * struct.calcsize("P")
print({("aarch64", 32): "armv7l", ("armv8l", 32): "armv7l", ("x86_64", 32): "i686"}.get((machine, bits), machine))')
    [ "$machine" = "$target" ] ||
        fail 2 "this package is for $target, this machine is $machine:" \
            "make one for it with edge-export BUNDLE --package FILE.zip --target $machine"
}

check_python() {
    fits_python ||
        fail 5 "this package is for Python $python ($system), $python_file is $found: use --python FILE," \
            "or make a package for this machine with edge-export BUNDLE --package FILE.zip --python $found"
}

check_system_numpy() {
    [ "$system_numpy" = yes ] || return 0
    "$python_file" -c 'import sys, numpy; sys.exit(not (1, 24) <= tuple(map(int, numpy.__version__.split(".")[:2])) < (2, 0))' \
        2>/dev/null || fail 5 "numpy 1.24 to 1.26 of this system is needed: apt install python3-numpy"
}

check_service() {
    [ "$service$serve" != noneno ] || return 0
    [ -d /run/systemd/system ] || fail 2 "systemd does not run here: install without a service"
    [ "$scope" = user ] || [ "$(id -u)" -eq 0 ] || fail 2 "--service needs root; --user-service does not"
    [ "$service" = none ] || ! grep -qs -- "--watch $prefix/inbox" "$(units_folder)/fracture-edge-serve.service" ||
        fail 2 "edge-serve watches $prefix/inbox here: --serve without --watch takes that from it first"
    case $prefix in *[!A-Za-z0-9/._+@-]*) fail 2 "$prefix: give a service a --prefix of letters, digits and /._+@-" ;; esac
}

# Every file is listed with its sum, and nothing else is there, no file and no link, but what signs the list.
check_files() {
    (cd "$here" && sha256sum --check --strict --quiet SHA256SUMS >&2) ||
        fail 3 "this package was altered or is incomplete: copy and unpack it again; nothing was installed"
    listed=$(cut -c 67- "$here/SHA256SUMS" | LC_ALL=C sort)
    present=$(cd "$here" && find . ! -type d ! -path ./SHA256SUMS ! -path ./package.sig | cut -c 3- | LC_ALL=C sort)
    [ "$listed" = "$present" ] ||
        fail 3 "this package holds more files than it lists: unpack it again into an empty folder; nothing was installed"
}

# Where root installs, nobody else may write: what lies there is run by root, now and at the next installation.
check_owner() {
    [ "$(id -u)" -eq 0 ] || return 0
    root=$(stat -c %u /) # 0, but in a namespace of users
    place=$prefix
    while [ "$place" != / ]; do
        if [ -e "$place" ]; then
            case $(stat -c %u -- "$place") in 0 | "$root") ;; *) refuse_owner "$place" ;; esac
            # Others may write where the sticky bit, as on /tmp, keeps them from renaming what is not theirs.
            [ -z "$(find "$place" -maxdepth 0 -perm /022 ! -perm -1000)" ] || refuse_owner "$place"
        fi
        place=$(dirname -- "$place")
    done
    [ -d "$prefix" ] || return 0
    place=$(find "$prefix" \( -path "$prefix/inbox" -o -path "$prefix/results" \) -prune -o \
        \( ! -uid 0 ! -uid "$root" -o ! -type l -perm /022 \) -print -quit)
    [ -z "$place" ] || refuse_owner "$place"
}

refuse_owner() {
    fail 2 "$1: others than root may write there (it belongs to $(stat -c %U -- "$1")), and root would run what lies" \
        "there: give a --prefix that is root's alone, hand this one over with chown -R root:root, or install as that user"
}

# What stands in bin under a name of ours is replaced only where it is ours.
check_commands() {
    for name in $commands; do
        [ -e "$prefix/bin/$name" ] || continue
        grep -q "^# $name of the release that is installed now" -- "$prefix/bin/$name" 2>/dev/null ||
            fail 2 "$prefix/bin/$name: exists and is something else; nothing was overwritten, give another --prefix"
    done
}

check_space() {
    existing=$prefix
    while [ ! -d "$existing" ]; do existing=$(dirname -- "$existing"); done
    free_kb=$(df -k --output=avail -- "$existing" | tail -n 1 | tr -d ' ')
    [ "$free_kb" -ge "$needed_kb" ] ||
        fail 6 "$((needed_kb / 1024)) MB are needed in $prefix, $((free_kb / 1024)) MB are free; nothing was installed"
}

# Two installations at a time would clear each other's releases. The kernel lets go of this lock when the process ends;
# it is on the folder, so that no file has to be opened for writing.
take_lock() {
    mkdir -p -- "$releases" || fail 6 "$releases: cannot be made"
    exec 9<"$releases" || fail 6 "$releases: cannot be opened"
    flock --nonblock 9 || fail 6 "$prefix: another install.sh is at work there"
}

# release_of LINK: name of the release that PREFIX/LINK points at, or nothing.
release_of() {
    name=$(readlink -- "$prefix/$1") || return 0
    basename -- "$name"
}

# Releases that neither link points at: unfinished ones, and those before the previous.
clear_releases() {
    for folder in "$releases"/fracture-edge-*; do
        case ${folder##*/fracture-edge-} in *[!0-9a-f-]*) continue ;; esac # not a name that an installer gives
        case $(basename -- "$folder") in
        "$(release_of current)" | "$(release_of previous)") ;;
        *) rm -rf -- "$folder" ;;
        esac
    done
}

# self_test RELEASE
self_test() { "$1/venv/bin/edge-infer" --model "$1/bundle" --self-test --engine "$engine"; }

is_installed() {
    case $(release_of current) in "fracture-edge-$id-"*) ;; *) return 1 ;; esac
    self_test "$prefix/current" >/dev/null 2>&1
}

install_release() {
    number=1
    while [ -e "$releases/fracture-edge-$id-$number" ]; do number=$((number + 1)); done
    release=$releases/fracture-edge-$id-$number
    say "installing into $release"
    mkdir -- "$release" || fail 6 "$release: cannot be made"
    if [ "$system_numpy" = yes ]; then set -- --system-site-packages; else set --; fi
    "$python_file" -m venv --without-pip "$@" "$release/venv" || fail 6 "no virtual environment could be made"
    install_wheels
    cp -R -- "$here/bundle" "$release/bundle" || fail 6 "the bundle could not be copied"
    cp -- "$here/package.conf" "$release/package.conf" || fail 6 "the settings could not be copied"
    check_pin "$release"
    say "self-test"
    self_test "$release" || fail 4 "the self-test failed"
}

# pip comes as a wheel too: Debian splits it from Python. A system's own settings could name an index.
install_wheels() {
    PIP_CONFIG_FILE=/dev/null "$release/venv/bin/python" "$here/$pip/pip" --isolated install --quiet \
        --disable-pip-version-check --no-cache-dir --no-input --no-index --find-links "$here/wheels" --no-deps \
        --no-compile --require-hashes --requirement "$here/requirements-$found.txt" || fail 6 "the wheels could not be installed"
    packages=$("$release/venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("platlib"))')
    (
        cd -- "$packages"
        # What no inference needs; the self-test that follows would show it. Patterns are meant to be expanded.
        # shellcheck disable=SC2086
        rm -rf -- $trim
    ) || fail 6 "the installation could not be trimmed"
    # On every core, and of what is left alone: pip compiles on one, what is trimmed too, and takes twice as long in all.
    "$release/venv/bin/python" -m compileall -q -j 0 "$packages" >&2 ||
        say "not every file could be compiled: commands may start slower"
}

# point LINK TARGET: atomically, for a link that is in use.
point() {
    ln -sfn -- "$2" "$prefix/.$1.new"
    mv -T -- "$prefix/.$1.new" "$prefix/$1"
}

# What is written must be on the disk before a link says so.
switch() {
    sync
    # A damaged release of this very package, installed anew, is not worth going back to.
    case $earlier in '' | "fracture-edge-$id-"*) ;; *) point previous "releases/$earlier" ;; esac
    point current "releases/$(basename -- "$release")"
    sync
}

# The new release through the very command that people and services use: an image gets an answer, and services run.
is_healthy() {
    set -- "$prefix"/current/bundle/golden/*.png
    "$prefix/bin/edge-infer" --model "$prefix/current/bundle" --json "$1" >/dev/null || return 1
    for unit in $running; do systemctl "--$scope" is-active --quiet "$unit" || return 1; done
}

# Back to the release before this one, by one rename; what was before that one is kept again too.
go_back() {
    if [ -n "$earlier" ]; then point current "releases/$earlier"; else rm -f -- "$prefix/current"; fi
    [ ! -d "$releases/$before" ] || [ -z "$before" ] || point previous "releases/$before"
    for unit in $running; do systemctl "--$scope" restart "$unit" || say "$unit does not start" >&2; done
    fail 4 "the new release did not answer once it was in use"
}

# put FILE MODE TARGET: whole or not at all.
put() {
    mkdir -p -- "$(dirname -- "$3")"
    cp -- "$1" "$3.new"
    chmod "$2" "$3.new"
    mv -- "$3.new" "$3"
}

# Links by which the commands are found in PATH; what somebody else has put there stays.
link_commands() {
    [ -n "$link" ] || return 0
    mkdir -p -- "$link"
    printf '%s\n' "$link" >"$prefix/.links.new"
    put "$prefix/.links.new" 644 "$prefix/links" # for uninstall.sh
    rm -f -- "$prefix/.links.new"
    for name in $commands; do
        if [ "$(readlink -- "$link/$name")" = "$prefix/bin/$name" ]; then
            continue
        elif [ -e "$link/$name" ] || [ -L "$link/$name" ]; then
            say "warning: $link/$name is something else and was left alone: call $prefix/bin/$name" >&2
        else
            ln -s -- "$prefix/bin/$name" "$link/$name"
        fi
    done
    case ":$PATH:" in *":$link:"*) ;; *) say "note: $link is not in PATH yet; it may be at the next login" >&2 ;; esac
}

units_folder() {
    if [ "$scope" = system ]; then echo /etc/systemd/system; else echo "${XDG_CONFIG_HOME:-$HOME/.config}/systemd/user"; fi
}

install_services() {
    if [ "$scope" = system ]; then kind=service; else kind=user.service; fi
    if [ "$service$serve" != noneno ] && [ "$scope" = system ]; then make_user; fi
    if [ "$service" != none ]; then
        prepare_watching
        install_unit "edge-infer.$kind" fracture-edge.service
        say "watching $prefix/inbox, results in $prefix/results/results.jsonl"
    fi
    if [ "$serve" = yes ]; then
        if [ "$watch" = yes ]; then
            prepare_watching
            remove_watcher
            say "watching $prefix/inbox by edge-serve, results in $prefix/results/results.jsonl"
        fi
        install_unit "edge-serve.$kind" fracture-edge-serve.service
        say "serving by the options in $prefix/serve.conf, else on http://127.0.0.1:8080"
    fi
    restart_services
}

# Two may not watch one folder: edge-serve takes over from edge-infer, and what that has judged is not judged anew.
remove_watcher() {
    unit=$(units_folder)/fracture-edge.service
    grep -qsF "ExecStart=$prefix/bin/" "$unit" || return 0
    systemctl "--$scope" stop fracture-edge.service || say "warning: fracture-edge.service could not be stopped" >&2
    systemctl "--$scope" disable --quiet fracture-edge.service
    rm -f -- "$unit"
}

# install_unit FILE NAME
install_unit() {
    mkdir -p -- "$(units_folder)"
    if [ "$watch" = yes ]; then kept='s/^@WATCHING@//'; else kept='/^@WATCHING@/d'; fi
    sed -e "$kept" -e "s|@PREFIX@|$prefix|g" "$here/$1" >"$prefix/.service.new"
    put "$prefix/.service.new" 644 "$(units_folder)/$2"
    rm -f -- "$prefix/.service.new"
    systemctl "--$scope" daemon-reload
    systemctl "--$scope" enable --quiet "$2"
}

# Services of this prefix, set up now or at an earlier installation: they go on with the new release.
restart_services() {
    running=''
    [ -d /run/systemd/system ] || return 0
    for name in fracture-edge.service fracture-edge-serve.service; do
        grep -qsF "ExecStart=$prefix/bin/" "$(units_folder)/$name" || continue
        systemctl "--$scope" is-enabled --quiet "$name" || continue
        running="$running $name"
        systemctl "--$scope" restart "$name" || say "$name does not start" >&2
    done
    [ -z "$running" ] || sleep 2 # what ends at once has ended by then
}

prepare_watching() {
    mkdir -p -- "$prefix/inbox" "$prefix/results"
    if [ "$scope" = system ]; then give_to_service; else chmod 700 -- "$prefix/inbox" "$prefix/results"; fi
    # What an earlier version wrote is the watcher's memory of what it has judged.
    if [ -f "$prefix/results.jsonl" ] && [ ! -L "$prefix/results.jsonl" ] && [ ! -e "$prefix/results/results.jsonl" ]; then
        mv -T -- "$prefix/results.jsonl" "$prefix/results/results.jsonl"
        if [ "$scope" = system ]; then chown -h -- "$service_user:" "$prefix/results/results.jsonl"; fi
    fi
}

make_user() {
    getent passwd "$service_user" >/dev/null ||
        useradd --system --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin "$service_user" ||
        fail 6 "the user $service_user, who is to run the service, could not be made"
}

# The inbox is for who called sudo to write to and for the service to read; the results are the service's.
give_to_service() {
    owner=$service_user
    if id -u -- "${SUDO_USER:-}" >/dev/null 2>&1; then owner=$SUDO_USER; fi
    chown -h -- "$owner:$service_user" "$prefix/inbox"
    chmod 2770 -- "$prefix/inbox"
    chown -h -- "$service_user:$service_user" "$prefix/results"
    chmod 700 -- "$prefix/results"
}

# At any failure: the unfinished release goes, unless it is in use already; the earlier one stays.
finish() {
    code=$?
    trap - EXIT
    [ "$code" -ne 1 ] || code=6 # a program could not write, and has said so
    left="the version installed earlier was left as it was"
    if [ -n "$release" ] && [ "$(release_of current)" = "$(basename -- "$release")" ]; then
        left="the new version is in use, though its installation did not end: run it again"
    elif [ -n "$release" ]; then
        rm -rf -- "$release"
    fi
    if [ "$code" -ne 0 ] && [ -e "$prefix/current" ]; then say "$left" >&2; fi
    exit "$code"
}

main() {
    unset PYTHONPATH PYTHONHOME
    release='' running=''
    read_arguments "$@"
    here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
    check_pinned_key
    check_files
    read_settings
    id=$(sha256sum "$here/SHA256SUMS" | cut -c 1-12)
    trap finish EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    find_python
    check_machine
    check_python
    check_system_numpy
    check_service
    check_owner
    check_commands
    tell_signer
    take_lock
    clear_releases
    earlier=$(release_of current) before=$(release_of previous)
    if is_installed; then
        check_pin "$prefix/current"
        say "this package is installed already, and its self-test passes"
    else
        check_space
        install_release
        switch
    fi
    for name in $commands; do put "$here/$name" 755 "$prefix/bin/$name"; done
    put "$here/uninstall.sh" 755 "$prefix/uninstall.sh"
    link_commands
    install_services
    is_healthy || go_back
    [ -z "$pin" ] || put "$pin" 644 "$prefix/trusted.pub"
    clear_releases
    if [ "$domain" = phantom ]; then
        say "warning: this model learnt from drawn phantoms, not from radiographs: it shows that everything works," \
            "and its answers about a patient's image mean nothing" >&2
    fi
    if [ "$(readlink -- "$link/edge-infer")" = "$prefix/bin/edge-infer" ]; then
        say "ready: edge-infer IMAGE..."
    else
        say "ready: $prefix/bin/edge-infer IMAGE..."
    fi
}

# The last line: a script that was cut short does nothing.
main "$@"

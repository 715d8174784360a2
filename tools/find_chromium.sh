#!/bin/sh
# Makes sure that a Chromium for the browser tests is on PATH; installs Debian's where apt works and we are root.
# Never fails: without a browser the tests skip and say what was not tested (FEWSTEPS_REQUIRE_BROWSER=1 forbids that).
found() {
    for name in "$FEWSTEPS_CHROMIUM" chromium chromium-browser google-chrome google-chrome-stable; do
        if [ -n "$name" ] && "$name" --version >/dev/null 2>&1; then return 0; fi
    done
    return 1
}

found && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "installing Debian's chromium for the browser tests"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq </dev/null >/dev/null && apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core </dev/null >/dev/null
fi
found || echo "no Chromium found or installable: the browser tests will be skipped" >&2
exit 0

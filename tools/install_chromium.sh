#!/bin/sh
# Makes sure that a Chromium is installed, for the tests of the web page alone: by apt where that needs no password. Where it can't be had
# those tests are skipped, and say so.
set -eu
if command -v chromium >/dev/null; then
  exit 0
fi
if [ "$(id -u)" = 0 ]; then
  as_root=""
elif sudo -n true 2>/dev/null; then
  as_root="sudo"
else
  echo "chromium is not installed (on Debian: sudo apt install chromium): tests that need it are skipped" >&2
  exit 0
fi
if ! command -v apt-get >/dev/null; then
  echo "there is no apt here to install chromium by: tests that need it are skipped" >&2
  exit 0
fi
echo "installing chromium" >&2
export DEBIAN_FRONTEND=noninteractive
install() { $as_root apt-get install -y -qq --no-install-recommends chromium >/dev/null 2>&1; }
# What apt knows may be nothing yet, or of versions that are gone.
if ! install && ! { $as_root apt-get update -qq && install; }; then
  echo "chromium could not be installed: tests that need it are skipped" >&2
fi

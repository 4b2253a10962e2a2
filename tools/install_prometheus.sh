#!/bin/sh
# Unpacks Debian's prometheus and promtool into .prometheus, for tests alone: as an installed package it would be a service
# of this machine from the next start on. Where that can't be done the tests that need them are skipped, and say so.
set -eu
if command -v prometheus >/dev/null && command -v promtool >/dev/null || [ -x .prometheus/usr/bin/promtool ]; then
  exit 0
fi
if ! command -v apt-get >/dev/null || ! command -v dpkg-deb >/dev/null; then
  echo "there is no apt here to fetch prometheus by: tests that need it are skipped" >&2
  exit 0
fi
echo "fetching prometheus" >&2
folder=$(mktemp -d .prometheus-XXXXXX)
trap 'rm -rf "$folder"' EXIT
fetch() { (cd "$folder" && apt-get download -qq prometheus 2>/dev/null && dpkg-deb -x prometheus_*.deb unpacked); }
# What apt knows may be nothing yet, or of versions that are gone.
refresh() { if [ "$(id -u)" = 0 ]; then apt-get update -qq; else sudo -n apt-get update -qq; fi; }
if fetch || { refresh 2>/dev/null && fetch; }; then
  mkdir -p .prometheus/usr/bin
  mv "$folder/unpacked/usr/bin/prometheus" "$folder/unpacked/usr/bin/promtool" .prometheus/usr/bin
else
  echo "prometheus could not be fetched: tests that need it are skipped" >&2
fi

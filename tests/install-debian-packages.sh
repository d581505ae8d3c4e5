#!/bin/sh
# Installs the Debian packages named in tests/debian-packages.txt, or in the list given, that are not there yet; needs
# root and apt.
# Without them the tests that need them skip and name what is missing, so this never fails a build.
list=${1:-$(dirname "$0")/debian-packages.txt}
wanted=$(sed 's/#.*//' "$list" | xargs)
missing=""
for package in $wanted; do
  dpkg -s "$package" >/dev/null 2>&1 || missing="$missing $package"
done
[ -z "$missing" ] && exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
  echo "not installed (needs root on Debian):$missing; the tests that need them will skip"
  exit 0
fi
echo "installing:$missing"
apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null \
  || echo "could not install:$missing; the tests that need them will skip"

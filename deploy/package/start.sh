#!/bin/sh
# npm start: the bundle of `npm run build` while nothing that it is made of has changed since, else the sources.
made_of='src sync deploy/package package.json package-lock.json node_modules/.package-lock.json'
main=src/entrepot.js
# Folders are among them: they are as new as what was last added or removed. Without a stamp `find` fails.
newer=$(find $made_of -newer .cache/bundle.json 2>/dev/null) && [ -z "$newer" ] && [ -f dist/main.js ] && main=dist/main.js
NODE_COMPILE_CACHE=${NODE_COMPILE_CACHE-.cache/node}
export NODE_COMPILE_CACHE
exec node --max-semi-space-size=8 "$main" serve "$@"

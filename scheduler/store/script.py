"""The script that a Redis server runs for each step of the store: the whole protocol between replicas, in one place.

Keys, all with one hash tag, so that a cluster keeps them together:

    {bulkhead:NAME}:head     hash: version, its stamp, the version that changed the quotas, the quotas, the layout
    {bulkhead:NAME}:entries  hash: pod UID -> entry as JSON
    {bulkhead:NAME}:log      stream: version -> its stamp and its rows, a JSON array of entries and of UIDs gone

A version is one committed step; its stamp is a random word of whoever committed it. Version and stamp together name a
history and not only its length: a server that came back with less than it answered, or was replaced by a replica that
had not heard all of it, may have reached the same number again, but not with the same stamp.

Redis runs a script alone and writes its effects to its log as one transaction. It refuses a script for want of memory
or of disk at the first command that may write, so that one must be of those that memory bounds (HSET is).
"""

from __future__ import annotations

from typing import Final

LAYOUT: Final = 1
LOG_STEPS: Final = 4_096  # who is further behind than this reads everything
LOG_ROWS: Final = 2_000  # a step with more rows than this is not logged: reading everything is as quick
LOG_BATCH: Final = 512  # steps per answer

CURRENT: Final = b"current"  # nothing was asked for, and nobody was faster
DONE: Final = b"done"
BEHIND: Final = b"behind"  # configured, quotas if they changed, and the steps since
RELOAD: Final = b"reload"  # too far behind
LOST: Final = b"lost"  # the server does not have the step that was seen

# ARGV: version and stamp seen, version of the quotas seen; stamp to commit with, quotas or ""; then for each change
# the UID, and the entry or "".
STEP: Final = f"""
local head = redis.call('HMGET', KEYS[1], 'version', 'stamp', 'configured', 'quotas')
local version, stamp = head[1] or '0', head[2] or ''
if version ~= ARGV[1] or stamp ~= ARGV[2] then
  if tonumber(version) < tonumber(ARGV[1]) then return {{'lost'}} end
  if ARGV[1] == '0' then return {{'reload'}} end
  local seen = redis.call('XRANGE', KEYS[3], ARGV[1], ARGV[1])[1]
  if not seen then return {{version == ARGV[1] and 'lost' or 'reload'}} end
  if seen[2][2] ~= ARGV[2] then return {{'lost'}} end
  local configured = head[3] or '0'
  return {{'behind', configured, configured ~= ARGV[3] and head[4],
          redis.call('XRANGE', KEYS[3], '(' .. ARGV[1] .. '-0', '+', 'COUNT', {LOG_BATCH})}}
end
if #ARGV == 5 and ARGV[5] == '' then return {{'current'}} end
local now = string.format('%d', version + 1)
redis.call('HSET', KEYS[1], 'version', now, 'stamp', ARGV[4], 'layout', '{LAYOUT}')
if ARGV[5] ~= '' then redis.call('HSET', KEYS[1], 'configured', now, 'quotas', ARGV[5]) end
local rows = {{}}
for at = 6, #ARGV, 2 do
  if ARGV[at + 1] == '' then
    redis.call('HDEL', KEYS[2], ARGV[at])
    rows[#rows + 1] = cjson.encode(ARGV[at])
  else
    redis.call('HSET', KEYS[2], ARGV[at], ARGV[at + 1])
    rows[#rows + 1] = ARGV[at + 1]
  end
end
if #rows > {LOG_ROWS} then
  redis.call('DEL', KEYS[3])
  rows = {{}}
end
redis.call('XADD', KEYS[3], 'MAXLEN', '~', {LOG_STEPS}, now .. '-0',
           'stamp', ARGV[4], 'rows', '[' .. table.concat(rows, ',') .. ']')
return {{'done', now}}
"""

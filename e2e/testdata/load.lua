-- What wrk does to a proxy and how it judges the answers. Each thread has one
-- connection, so that an answer belongs to the last request. What is not right
-- goes to a file of the thread's, a line each: when it was asked and answered, in
-- milliseconds since 1970, the status, what was asked, the body.
--
-- Arguments: the directory of those files, how many secrets there are, how many
-- milliseconds to wait before each request.
local ffi = require("ffi")
ffi.cdef [[
  typedef struct { long sec, usec; } latchkey_time;
  int gettimeofday(latchkey_time *, void *);
]]
local clock = ffi.new("latchkey_time")

local function now()
  ffi.C.gettimeofday(clock, nil)
  return tonumber(clock.sec) * 1000 + math.floor(tonumber(clock.usec) / 1000)
end

local threads = {}
function setup(thread)
  table.insert(threads, thread)
  thread:set("id", #threads)
end

counts = { "asked", "hit", "stale", "miss", "passed", "wrong", "failed" }
for _, name in ipairs(counts) do
  _G[name] = 0
end

function init(args)
  math.randomseed(id)
  report = io.open(args[1] .. "/" .. id, "w")
  report:setvbuf("line")
  secrets, pause = tonumber(args[2]), tonumber(args[3])
end

function delay()
  return pause
end

function request()
  sent, asked = now(), asked + 1
  local kind, i = math.random(0, 99), math.random(0, secrets - 1)
  if kind < 20 then -- a token, which is the same each time
    want, what = '"metadata":{"n":"' .. i .. '"}', "token " .. i
    return wrk.format("POST", "/v1/auth/token/create", nil,
      '{"policies":["default"],"ttl":"1h","meta":{"n":"' .. i .. '"}}')
  end
  want, what = '"value":"of ' .. i .. '"', "secret " .. i
  -- Past the cache, on every other connection: those that only ask for what is
  -- cached do not wait while the server is away.
  if kind < 30 and id % 2 == 0 then
    return wrk.format("GET", "/v1/secret/data/load/" .. i, { ["X-Vault-Cache-Control"] = "nocache" })
  end
  return wrk.format("GET", "/v1/secret/data/load/" .. i)
end

local kinds = { HIT = "hit", STALE = "stale", MISS = "miss" }

function response(status, headers, body)
  local cache = "passed"
  for name, value in pairs(headers) do
    if name:lower() == "x-cache" then
      cache = kinds[value] or value
    end
  end
  local verdict = cache
  if status ~= 200 then
    verdict = "failed"
  elseif not body:find(want, 1, true) then
    verdict = "wrong"
  end
  _G[verdict] = (_G[verdict] or 0) + 1
  if verdict == "failed" or verdict == "wrong" then
    report:write(string.format("%d %d %d %s: %s\n", sent, now(), status, what, body:sub(1, 300):gsub("%s+", " ")))
  end
end

function done()
  for _, name in ipairs(counts) do
    local sum = 0
    for _, thread in ipairs(threads) do
      sum = sum + thread:get(name)
    end
    print("count " .. name .. " " .. sum)
  end
end

-- wrk ... -s post.lua URL -- SEED BODY: the same body each time, with an idempotency key that nobody else has.
local here = debug.getinfo(1).source:match("@(.*/)")
dofile(here .. "told.lua")

function init(args)
  seed, turn = args[1], 0
  wrk.method, wrk.body = "POST", args[2]
  wrk.headers["Content-Type"] = "application/json"
end

function request()
  turn = turn + 1
  wrk.headers["Idempotency-Key"] = seed .. "-" .. turn
  return wrk.format()
end

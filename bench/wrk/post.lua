-- wrk ... -s post.lua URL -- SEED BODY TOKEN...: the same body each time, in turns by users who have these tokens, with
-- an idempotency key that nobody else has.
local here = debug.getinfo(1).source:match("@(.*/)")
dofile(here .. "told.lua")

function init(args)
  seed, turn, tokens = args[1], 0, {}
  for k = 3, #args do tokens[#tokens + 1] = args[k] end
  wrk.method, wrk.body = "POST", args[2]
  wrk.headers["Content-Type"] = "application/json"
end

function request()
  turn = turn + 1
  wrk.headers["Idempotency-Key"] = seed .. "-" .. turn
  wrk.headers["Authorization"] = tokens[turn % #tokens + 1]
  return wrk.format()
end

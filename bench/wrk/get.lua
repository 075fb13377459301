-- wrk ... -s get.lua URL -- SEED PAUSE_MS PATH...: asks for the paths in turns, from the SEED-th on.
local here = debug.getinfo(1).source:match("@(.*/)")
dofile(here .. "told.lua")

function init(args)
  turn, pause_ms, paths = tonumber(args[1]), tonumber(args[2]), {}
  for k = 3, #args do paths[#paths + 1] = args[k] end
  if pause_ms > 0 then
    function delay() return pause_ms * (0.5 + math.random()) end -- nobody keeps step
  end
end

function request()
  turn = turn + 1
  return wrk.format("GET", paths[turn % #paths + 1])
end

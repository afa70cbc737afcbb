-- BENCH_ADMIN=post: new consumers with names that never repeat; get: consumers at random out of BENCH_ROWS; static: one fixed path.
local what, rows, seed, count
function init(args)
    what = os.getenv("BENCH_ADMIN")
    rows = tonumber(os.getenv("BENCH_ROWS") or "1")
    seed = tonumber(os.getenv("BENCH_SEED") or "1")
    math.randomseed(seed)
    count = 0
    wrk.headers["Content-Type"] = what == "post" and "application/json" or nil
end
function request()
    if what == "post" then
        count = count + 1
        local name = string.format("w%d-%d", seed, count)
        return wrk.format("POST", "/consumers", nil, '{"username":"' .. name .. '","custom_id":"' .. name .. '"}')
    elseif what == "get" then
        return wrk.format("GET", string.format("/consumers/c%07d", math.random(0, rows - 1)))
    end
    return wrk.format("GET", "/consumers/c0000000")
end
function done(summary, latency, requests)
    local e = summary.errors
    print(string.format("RESULT %d %d %d %d %.1f", summary.requests, e.connect + e.read + e.write + e.status + e.timeout,
        latency:percentile(50), latency:percentile(99), summary.requests / (summary.duration / 1e6)))
end

-- Requests at random out of BENCH_COUNT, made before the slice starts: what takes a number (%d and the like) in BENCH_PATH and BENCH_VALUE
-- (of the header BENCH_HEADER) gets the request's, that in BENCH_HOST the hundredth of it. BENCH_CLOSE=1 ends each connection.
local requests, count = {}, tonumber(os.getenv("BENCH_COUNT"))

-- The variable's pattern with the number in it; nil when it is empty.
local function filled(variable, i)
    local pattern = os.getenv(variable) or ""
    if pattern == "" then
        return nil
    end
    return pattern:find("%", 1, true) and pattern:format(i) or pattern
end

function init(args)
    math.randomseed(tonumber(os.getenv("BENCH_SEED") or "1"))
    for i = 0, count - 1 do
        local headers = { Host = filled("BENCH_HOST", math.floor(i / 100)) or wrk.headers["Host"] }
        local name = filled("BENCH_HEADER", i)
        if name then
            headers[name] = filled("BENCH_VALUE", i)
        end
        if os.getenv("BENCH_CLOSE") == "1" then
            headers["Connection"] = "close"
        end
        requests[i] = wrk.format("GET", filled("BENCH_PATH", i), headers)
    end
end

function request()
    return requests[math.random(0, count - 1)]
end

function done(summary, latency, all)
    local e = summary.errors
    print(string.format("RESULT %d %d %d %d %.1f", summary.requests, e.connect + e.read + e.write + e.status + e.timeout,
        latency:percentile(50), latency:percentile(99), summary.requests / (summary.duration / 1e6)))
end

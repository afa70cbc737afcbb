-- Random routes out of BENCH_ROUTES; with BENCH_UNIQUE=1 the path behind the route never repeats, so that no cache can flatter.
local n, unique, seed, count, head, tail
function init(args)
    n = tonumber(os.getenv("BENCH_ROUTES"))
    unique = os.getenv("BENCH_UNIQUE") == "1"
    seed = tonumber(os.getenv("BENCH_SEED") or "1")
    math.randomseed(seed)
    count = 0
    local text = wrk.format("GET", "/@@")
    local at = text:find("@@", 1, true)
    head, tail = text:sub(1, at - 1), text:sub(at + 2)
end
function request()
    local path = string.format("r%06d/", math.random(0, n - 1))
    if unique then
        count = count + 1
        path = path .. string.format("%x-%x", seed, count)
    else
        path = path .. "anything"
    end
    return head .. path .. tail
end
function done(summary, latency, requests)
    local e = summary.errors
    print(string.format("RESULT %d %d %d %d %.1f", summary.requests, e.connect + e.read + e.write + e.status + e.timeout,
        latency:percentile(50), latency:percentile(99), summary.requests / (summary.duration / 1e6)))
end

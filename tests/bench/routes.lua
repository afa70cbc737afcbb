-- Random routes out of BENCH_ROUTES; with BENCH_UNIQUE=1 the path behind the route never repeats, so that no cache can flatter.
-- With BENCH_FIXED=1 all of this is made and one fixed path sent: the baseline, for which the load generator works as hard.
local n, unique, seed, count, head, tail, fixed
function init(args)
    n = tonumber(os.getenv("BENCH_ROUTES"))
    unique = os.getenv("BENCH_UNIQUE") == "1"
    seed = tonumber(os.getenv("BENCH_SEED") or "1")
    math.randomseed(seed)
    count = 0
    local text = wrk.format("GET", "/@@")
    local at = text:find("@@", 1, true)
    head, tail = text:sub(1, at - 1), text:sub(at + 2)
    fixed = os.getenv("BENCH_FIXED") == "1" and head .. "r000000/anything" .. tail
end
function request()
    local path = string.format("r%06d/", math.random(0, n - 1))
    if unique then
        count = count + 1
        path = path .. string.format("%x-%x", seed, count)
    else
        path = path .. "anything"
    end
    local made = head .. path .. tail
    return fixed or made
end
function done(summary, latency, requests)
    local e = summary.errors
    print(string.format("RESULT %d %d %d %d %.1f", summary.requests, e.connect + e.read + e.write + e.status + e.timeout,
        latency:percentile(50), latency:percentile(99), summary.requests / (summary.duration / 1e6)))
end

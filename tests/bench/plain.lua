-- One fixed path, as long as those of the many-route rows; prints what the harness reads.
local request_text
function init(args)
    request_text = wrk.format("GET", "/r000000/" .. (os.getenv("BENCH_SUFFIX") or "anything"))
end
function request()
    return request_text
end
function done(summary, latency, requests)
    local e = summary.errors
    print(string.format("RESULT %d %d %d %d %.1f", summary.requests, e.connect + e.read + e.write + e.status + e.timeout,
        latency:percentile(50), latency:percentile(99), summary.requests / (summary.duration / 1e6)))
end

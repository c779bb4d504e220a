-- What wrk runs for every scenario. Parameters come by the environment, the result leaves as one line of JSON.
--
-- Only `done` is defined, no `request` or `response`: wrk then sends a request it built once and does not parse the
-- headers of the answers, so that the load generator stays faster than the fastest server.

local body_bytes = tonumber(os.getenv("BENCH_BODY_BYTES") or "0")
wrk.method = os.getenv("BENCH_METHOD") or "GET"
if body_bytes > 0 then
  wrk.body = string.rep("x", body_bytes)
end
if os.getenv("BENCH_CLOSE") == "1" then
  wrk.headers["Connection"] = "close"
end

-- wrk counts latencies in whole microseconds, too coarse for one connection. The place of the percentile among the
-- samples of its own microsecond gives the fraction.
local function percentile(latency, p)
  local bin = latency:percentile(p)
  local samples = 0
  for i = 1, #latency do
    local _, count = latency(i)
    samples = samples + count
  end
  local before = 0
  for i = 1, #latency do
    local value, count = latency(i)
    if value >= bin then
      return bin + (samples * p / 100 - before) / math.max(count, 1)
    end
    before = before + count
  end
  return bin
end

function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    'BENCH_RESULT {"requests":%d,"microseconds":%d,"bytes":%d,"p50_us":%.2f,"p99_us":%.2f,"max_us":%.0f,' ..
    '"connect":%d,"read":%d,"write":%d,"status":%d,"timeout":%d}\n',
    summary.requests, summary.duration, summary.bytes, percentile(latency, 50), percentile(latency, 99),
    latency.max, e.connect, e.read, e.write, e.status, e.timeout))
end

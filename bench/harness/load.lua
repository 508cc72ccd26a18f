-- For load.py: posts the bytes of stdin with the content type of the first argument. The last line is JSON.

local threads = {}

function setup(thread)
   table.insert(threads, thread)
end

function init(args)
   wrk.method = "POST"
   wrk.headers["Content-Type"] = args[1]
   wrk.body = io.read("*a")
   request_bytes = wrk.format()
   statuses = {}
end

function request()
   return request_bytes
end

function response(status)
   statuses[status] = (statuses[status] or 0) + 1
end

function done(summary, latency, requests)
   local counts = {}
   for _, thread in ipairs(threads) do
      for status, count in pairs(thread:get("statuses")) do
         table.insert(counts, string.format('"%d": %d', status, count))
      end
   end
   local errors = summary.errors
   print(string.format('{"seconds": %.3f, "broken": %d, "statuses": {%s}}', summary.duration / 1e6,
      errors.connect + errors.read + errors.write + errors.timeout, table.concat(counts, ", ")))
end

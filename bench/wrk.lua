-- For bench/wrk.py: posts the file named by the first argument with the content type of the second. The last line is JSON.

local threads = {}

function setup(thread)
   table.insert(threads, thread)
end

function init(args)
   local file = io.open(args[1], "rb")
   wrk.method = "POST"
   wrk.headers["Content-Type"] = args[2]
   wrk.body = file:read("*a")
   file:close()
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

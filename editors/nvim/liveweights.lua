-- Suggestions in Neovim 0.12 or later, thin over `liveweights lsp`. In init.lua:
--   dofile("/path/to/liveweights.lua").setup({ consent = true, url = "http://127.0.0.1:8090" })
-- Settings are those of docs/editor.md; `cmd` is the program, `keys` the keys below.

local M = {}

M.keys = { accept = "<Tab>", word = "<M-Right>", line = "<M-Down>", dismiss = "<C-]>" }

local WORD = { "^%s*[%w_\128-\255]+", "^%s*[^%s%w_\128-\255]+" }
local LINE = { "^\n?[^\n]+" }

--- Take what is shown up to where the first of `patterns` that is there ends; the server reads that
--- from the change.
local function take_part(patterns)
  return function()
    local buffer = vim.api.nvim_get_current_buf()
    local client = vim.lsp.get_clients({ bufnr = buffer, name = "liveweights" })[1]
    if not client then
      return
    end
    local params = vim.lsp.util.make_position_params(0, client.offset_encoding)
    params.context = { triggerKind = 2 }
    client:request("textDocument/inlineCompletion", params, function(_, shown)
      local item = shown and (shown.items or shown)[1]
      for _, pattern in ipairs(item and patterns or {}) do
        local part = item.insertText:match(pattern)
        if part then
          return vim.api.nvim_put(vim.split(part, "\n", { plain = true }), "c", false, true)
        end
      end
    end, buffer)
  end
end

function M.setup(options)
  options = vim.deepcopy(options or {})
  local keys = vim.tbl_extend("force", M.keys, options.keys or {})
  local command = options.cmd or { "liveweights", "lsp" }
  options.cmd, options.keys = nil, nil
  if vim.fn.has("nvim-0.12") == 0 then
    vim.notify("liveweights: Neovim 0.12 or later is needed", vim.log.levels.WARN)
    return
  end
  vim.lsp.config("liveweights", {
    cmd = command,
    init_options = options,
    root_markers = { ".git" },
    -- Changes go out as they are made: several at once would look like a word that was taken.
    flags = { debounce_text_changes = 0 },
    on_attach = function(client, buffer)
      vim.lsp.inline_completion.enable(true, { bufnr = buffer })
      local function map(key, act, extra)
        vim.keymap.set("i", key, act, vim.tbl_extend("force", { buffer = buffer }, extra or {}))
      end
      map(keys.accept, function()
        -- True where something is shown; it is put there once this mapping is through.
        return vim.lsp.inline_completion.get() and "" or keys.accept
      end, { expr = true, replace_keycodes = true })
      map(keys.word, take_part(WORD))
      map(keys.line, take_part(LINE))
      map(keys.dismiss, function()
        -- What is shown goes, and the function that gets it puts nothing there.
        local shown = vim.lsp.inline_completion.get({
          on_accept = function(item)
            if item.client_id == client.id then
              client:exec_cmd({ title = "dismissed", command = "liveweights.dismissed" })
            end
          end,
        })
        return shown and "" or keys.dismiss
      end, { expr = true, replace_keycodes = true })
    end,
  })
  vim.lsp.enable("liveweights")
end

return M
